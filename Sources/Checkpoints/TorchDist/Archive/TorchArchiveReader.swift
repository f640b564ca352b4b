import Foundation
import Torch

/// One `torch.save` archive in memory: a pickle, and the storages that its tensors are views of.
struct TorchArchiveReader {
  let value: PickleValue
  private let zip: ZipReader

  /// Throws `ZipReader.Failure` or `PickleError`.
  init(_ bytes: UnsafeRawBufferPointer, allowing allowed: PickleAllowList) throws {
    zip = try ZipReader(bytes)
    guard let pickle = zip.entries["data.pkl"] else {
      throw ZipReader.Failure("it has no entry 'data.pkl', so torch.save did not write it")
    }
    guard pickle.isIntact else { throw ZipReader.Failure("its entry 'data.pkl' has not the checksum that it should have") }
    if let order = zip.entries["byteorder"].map({ String(decoding: $0.data, as: UTF8.self) }), order != "little" {
      throw ZipReader.Failure("its byte order is '\(order)'; only 'little' can be read here")
    }
    value = try PickleReader.value(of: pickle.data, allowing: allowed)
  }

  /// The tensor, where the archive holds one and nothing else.
  func view() throws -> StorageView? { try value.object.flatMap { try TensorPickling.view(of: $0) } }

  func damagedEntries() -> [String] { zip.damagedEntries() }

  /// The view's type and its storage, which holds all elements of the view.
  func storage(of view: StorageView) throws -> (DType, UnsafeRawBufferPointer) {
    guard let dtype = DType(name: view.dtypeName) else {
      throw PickleError("its element type \(view.dtypeName) has no tensors here")
    }
    guard let entry = zip.entries["data/\(view.key)"] else { throw PickleError("its storage data/\(view.key) is missing") }
    let (byteCount, overflow) = view.storageCount.multipliedReportingOverflow(by: view.isUntyped ? 1 : dtype.size)
    guard !overflow, byteCount == entry.data.count else {
      let unit = view.isUntyped ? "bytes" : "elements of \(dtype.name)"
      throw PickleError("its storage has \(entry.data.count) bytes, but should have \(view.storageCount) \(unit)")
    }
    guard let end = view.end, end <= byteCount / dtype.size else {
      throw PickleError(
        "its shape \(view.shape) with strides \(view.strides) and offset \(view.storageOffset) does not fit its storage "
          + "of \(byteCount) bytes")
    }
    return (dtype, entry.data)
  }

  /// The value with all tensors in place, copied.
  func valueWithTensors() throws -> PickleValue { try filled(value) }

  private func filled(_ value: PickleValue) throws -> PickleValue {
    if case .object(let object) = value, let view = try TensorPickling.view(of: object) {
      let (dtype, storage) = try storage(of: view)
      let count = view.shape.reduce(dtype.size, *)
      // Strides of 0 let a small storage stand for a tensor of any size.
      guard count <= max(64 * storage.count, 1 << 20) else {
        throw PickleError("its tensor of shape \(view.shape) repeats a storage of \(storage.count) bytes beyond measure")
      }
      let copy = StridedCopy(
        sizes: view.shape, sourceStrides: view.strides, destinationStrides: rowMajorStrides(view.shape),
        elementSize: dtype.size)
      let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        if count > 0 {
          copy.run(
            from: storage.baseAddress! + view.storageOffset * dtype.size,
            to: UnsafeMutableRawPointer(buffer.baseAddress!))
        }
        initialized = count
      }
      return .tensor(HostTensor(dtype: dtype, shape: view.shape, bytes: bytes))
    }
    return try value.mapChildren(filled)
  }
}

extension StorageView {
  /// One past the last element of the storage that the view can reach; nil where no storage could be that large.
  var end: Int? {
    guard shape.count == strides.count, storageOffset >= 0, shape.allSatisfy({ $0 >= 0 }),
      strides.allSatisfy({ $0 >= 0 })
    else { return nil }
    guard byteCount(shape: shape, elementSize: 8) != nil else { return nil }
    if shape.contains(0) { return storageOffset }
    var last = storageOffset
    for (size, stride) in zip(shape, strides) {
      let (distance, overflow) = (size - 1).multipliedReportingOverflow(by: stride)
      let (sum, overflow2) = last.addingReportingOverflow(distance)
      if overflow || overflow2 || sum == .max { return nil }
      last = sum
    }
    return last + 1
  }
}

/// The bytes that a tensor has; nil where no memory could hold them.
func byteCount(shape: [Int], elementSize: Int) -> Int? {
  var count = elementSize
  for size in shape {
    // Sizes behind a 0 count as well, so that every part of the shape is a sound number.
    let (product, overflow) = count.multipliedReportingOverflow(by: max(1, size))
    if size < 0 || overflow { return nil }
    count = product
  }
  return shape.contains(0) ? 0 : count
}
