import CTorch

// Between Swift's memory and tensors. Only what says so copies.
extension Tensor {
  /// A copy of `values` on the CPU, of shape `[count]` unless another is given.
  public convenience init<Element: TensorElement>(_ values: [Element], shape: [Int]? = nil) {
    let tensor = Tensor.empty([values.count], dtype: Element.dtype)
    values.withUnsafeBytes { source in tensor.withMutableBytes { if $0.count == source.count { $0.copyMemory(from: source) } } }
    self.init(retaining: shape.map { tensor.view($0) } ?? tensor)
  }

  /// A number without dimensions.
  public convenience init(_ value: some TensorScalar, dtype: DType = .float32, device: Device = .cpu) {
    self.init(retaining: .full([], value, dtype: dtype, device: device))
  }

  /// Memory of someone else, seen as a contiguous tensor without a copy; `release` runs after its last use.
  public convenience init(
    borrowing memory: UnsafeMutableRawPointer, shape: [Int], dtype: DType, release: @escaping () -> Void
  ) {
    let context = Unmanaged.passRetained(ReleaseBox(release)).toOpaque()
    self.init(owned: withInts(shape) { sizes in
      ct_from_memory(memory, sizes, dtype.rawValue, { Unmanaged<ReleaseBox>.fromOpaque($0!).release() }, context)
    })
  }

  /// The elements in row-major order, copied (and converted when the type differs).
  public func array<Element: TensorElement>(_ type: Element.Type = Element.self) -> [Element] {
    withBytes(as: Element.dtype) { Array($0.bindMemory(to: Element.self)) }
  }

  private convenience init(retaining other: Tensor) {
    self.init(owned: withExtendedLifetime(other) { ct_retain(other.handle) })
  }

  /// The memory of this tensor, if it is contiguous on the CPU, else of a copy; valid inside `body` only.
  public func withBytes<R>(as dtype: DType? = nil, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    let source = detached().to(dtype: dtype, device: .cpu).contiguous()
    defer { withExtendedLifetime(source) {} }
    return try body(UnsafeRawBufferPointer(source.memory))
  }

  /// The memory itself, for writing; the tensor must be contiguous on the CPU.
  public func withMutableBytes<R>(_ body: (UnsafeMutableRawBufferPointer) throws -> R) rethrows -> R {
    if isDefined && !(isContiguous && device.kind == .cpu) {
      raiseTorchError("withMutableBytes needs a contiguous tensor on the CPU, not one on \(device) with strides \(strides)")
      return try body(UnsafeMutableRawBufferPointer(start: nil, count: 0))
    }
    defer { withExtendedLifetime(self) {} }
    return try body(memory)
  }

  /// Empty where there is none (an error then waits).
  private var memory: UnsafeMutableRawBufferPointer {
    let start = checked(ct_data(handle))
    return UnsafeMutableRawBufferPointer(start: start, count: start == nil ? 0 : byteCount)
  }

  /// The only element, as a double.
  public func item() -> Double { withExtendedLifetime(self) { checked(ct_item_double(handle)) } }
  public func intItem() -> Int { withExtendedLifetime(self) { checked(Int(ct_item_int(handle))) } }

  /// This tensor with another type or on another device; itself when nothing changes.
  public func to(dtype: DType? = nil, device: Device? = nil, copy: Bool = false, nonBlocking: Bool = false) -> Tensor {
    withExtendedLifetime(self) {
      Tensor(owned: ct_to(
        handle, dtype?.rawValue ?? -1, device?.kind.rawValue ?? -1, Int32(device?.index ?? -1), copy, nonBlocking))
    }
  }

  public func contiguous() -> Tensor { withExtendedLifetime(self) { Tensor(owned: ct_contiguous(handle)) } }
  public func clone() -> Tensor { withExtendedLifetime(self) { Tensor(owned: ct_clone(handle)) } }
  public func pinned() -> Tensor { withExtendedLifetime(self) { Tensor(owned: ct_pin_memory(handle)) } }

  // MARK: Storage

  public var storageByteCount: Int { withExtendedLifetime(self) { checked(ct_storage_bytes(handle)) } }

  /// Frees the storage of this tensor and all its views; `refillStorage` must come before their next use.
  package func emptyStorage() {
    withExtendedLifetime(self) { _ = checked(ct_resize_storage(handle, 0)) }
  }

  /// Moves the storage of this tensor and all its views, with what it holds, into the memory of `place`; one that was emptied
  /// takes all of it, as it is.
  /// - Parameter place: a row of at least as many bytes on the same device, which the storage keeps.
  package func moveStorage(to place: Tensor) {
    withExtendedLifetime((self, place)) { ct_move_storage(handle, place.handle) }
    checkTorchError()
  }

  /// Where the first element lies.
  package var address: Int { withExtendedLifetime(self) { Int(bitPattern: checked(ct_data(handle))) } }

  /// Bytes of the storage before the first element.
  package var storageOffset: Int { withExtendedLifetime(self) { checked(Int(ct_storage_offset(handle))) } }

  /// Gives an emptied storage fresh memory of `bytes` bytes.
  package func refillStorage(bytes: Int) {
    withExtendedLifetime(self) { _ = checked(ct_resize_storage(handle, bytes)) }
  }
}

private final class ReleaseBox {
  let release: () -> Void
  init(_ release: @escaping () -> Void) { self.release = release }
  deinit { release() }
}
