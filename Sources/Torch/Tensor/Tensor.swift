import CTorch
import Foundation

/// One reference to an ATen tensor.
///
/// Copying the reference shares the tensor, as in PyTorch; views share memory. A tensor belongs to one thread at a time:
/// it is handed over with `sending`, never shared.
public final class Tensor {
  package let handle: ct_tensor
  /// nil: who needs these numbers in the backward pass keeps them.
  package var again: Remaking?

  /// Takes over one reference; nil stands for a failed operation and becomes the undefined tensor.
  @inline(__always)
  package init(owned handle: ct_tensor?) {
    if let handle {
      self.handle = handle
    } else {
      stopOutsideScope()
      self.handle = ct_undefined()
    }
  }

  deinit { ct_release(handle) }

  /// Code that picks from a failed operation's results must reach the end of its scope.
  private static let failedCount = 8

  /// Takes over an array made by the C side; nothing stands for a failed operation and becomes undefined tensors.
  static func list(owned array: ct_tensor_array) -> [Tensor] {
    checkTorchError()
    guard array.data != nil else { return (0..<failedCount).map { _ in Tensor(owned: nil) } }
    defer { ct_free_array(array.data) }
    return (0..<array.count).map { Tensor(owned: array.data[$0]) }
  }

  static func optionalList(owned array: ct_tensor_array) -> [Tensor?] {
    checkTorchError()
    guard array.data != nil else { return Array(repeating: nil, count: failedCount) }
    defer { ct_free_array(array.data) }
    return (0..<array.count).map { i in array.data[i].map { Tensor(owned: $0) } }
  }

  // MARK: Properties

  /// False for the result of an operation that failed.
  public var isDefined: Bool { withExtendedLifetime(self) { ct_is_defined(handle) } }

  /// Sizes of all dimensions; ones for the result of an operation that failed.
  public var shape: [Int] { perDimension(ct_sizes) }

  /// Elements to step over for one step in each dimension.
  public var strides: [Int] { perDimension(ct_strides) }

  private func perDimension(_ fill: (ct_tensor, UnsafeMutablePointer<Int64>?) -> Void) -> [Int] {
    withExtendedLifetime(self) {
      let dimensions = dimensionCount
      // Code that looks at sizes of a failed result must reach the end of its scope: nothing to divide by is 0, and
      // there are enough of them.
      guard isDefined else { return Array(repeating: 1, count: 8) }
      return [Int](unsafeUninitializedCapacity: dimensions) { buffer, count in
        buffer.withMemoryRebound(to: Int64.self) { fill(handle, $0.baseAddress) }
        count = dimensions
      }
    }
  }

  public var dimensionCount: Int { withExtendedLifetime(self) { checked(Int(ct_dim(handle))) } }

  /// The size of one dimension; negative ones count from the end.
  public func size(_ dimension: Int) -> Int {
    withExtendedLifetime(self) { checked(Int(ct_size(handle, Int64(dimension)))) }
  }

  /// How many elements there are.
  public var count: Int { withExtendedLifetime(self) { checked(Int(ct_numel(handle))) } }
  public var byteCount: Int { count * dtype.size }

  public var dtype: DType {
    withExtendedLifetime(self) {
      let code = checked(ct_dtype(handle))
      guard let dtype = DType(rawValue: code) else { fatalError("a tensor of libtorch's scalar type \(code)") }
      return dtype
    }
  }

  public var device: Device {
    withExtendedLifetime(self) {
      let kind = checked(ct_device_type(handle))
      guard let known = Device.Kind(rawValue: kind) else { fatalError("a tensor on libtorch's device type \(kind)") }
      return Device(kind: known, index: Int(ct_device_index(handle)))
    }
  }

  public var isContiguous: Bool { withExtendedLifetime(self) { checked(ct_is_contiguous(handle)) } }

  public func sharesStorage(with other: Tensor) -> Bool {
    withExtendedLifetime((self, other)) { checked(ct_shares_storage(handle, other.handle)) }
  }
}

extension Tensor: CustomStringConvertible {
  public var description: String {
    withExtendedLifetime(self) {
      let text = ct_description(handle)!
      defer { free(text) }
      return String(cString: text)
    }
  }
}
