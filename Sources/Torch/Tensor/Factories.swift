import CTorch

extension Tensor {
  private static func options(_ dtype: DType, _ device: Device) -> ct_options {
    ct_options(dtype: dtype.rawValue, device_type: device.kind.rawValue, device_index: Int32(device.index))
  }

  /// Memory as it is found.
  public static func empty(_ shape: [Int], dtype: DType = .float32, device: Device = .cpu) -> Tensor {
    Tensor(owned: withInts(shape) { ct_empty($0, options(dtype, device)) })
  }

  /// Host memory as it is found, to which and from which a GPU copies at full speed and without waiting.
  public static func emptyPinned(_ shape: [Int], dtype: DType) -> Tensor {
    let bytes = shape.reduce(dtype.size, *)
    // libtorch keeps what it was given back, rounded up to a power of two: for what is large, that is too much.
    guard bytes > 64 << 20, let functions = ct_cuda()?.pointee else {
      return Tensor(owned: withInts(shape) { ct_empty_pinned($0, dtype.rawValue) })
    }
    guard let memory = checked(functions.pinned_memory(bytes)) else { return Tensor(owned: ct_undefined()) }
    return Tensor(borrowing: memory, shape: shape, dtype: dtype) { functions.release_pinned_memory(memory) }
  }

  public static func full(
    _ shape: [Int], _ value: some TensorScalar, dtype: DType = .float32, device: Device = .cpu
  ) -> Tensor {
    Tensor(owned: withInts(shape) { ct_full($0, value.scalar, options(dtype, device)) })
  }

  public static func zeros(_ shape: [Int], dtype: DType = .float32, device: Device = .cpu) -> Tensor {
    full(shape, 0, dtype: dtype, device: device)
  }

  public static func ones(_ shape: [Int], dtype: DType = .float32, device: Device = .cpu) -> Tensor {
    full(shape, 1, dtype: dtype, device: device)
  }

  public func emptyLike(dtype: DType? = nil) -> Tensor { .empty(shape, dtype: dtype ?? self.dtype, device: device) }
  public func zerosLike(dtype: DType? = nil) -> Tensor { .zeros(shape, dtype: dtype ?? self.dtype, device: device) }

  /// `start, start + step, …` below `end`.
  public static func arange(
    _ start: some TensorScalar = 0, _ end: some TensorScalar, step: some TensorScalar = 1, dtype: DType = .int64,
    device: Device = .cpu
  ) -> Tensor {
    Tensor(owned: ct_arange(start.scalar, end.scalar, step.scalar, options(dtype, device)))
  }

  public static func arange(_ count: Int, dtype: DType = .int64, device: Device = .cpu) -> Tensor {
    arange(0, count, dtype: dtype, device: device)
  }

  /// Uniform in [0, 1).
  public static func rand(
    _ shape: [Int], generator: Generator? = nil, dtype: DType = .float32, device: Device = .cpu
  ) -> Tensor {
    defer { withExtendedLifetime(generator) {} }
    return Tensor(owned: withInts(shape) { ct_rand($0, generator?.handle, options(dtype, device)) })
  }

  /// Standard normal.
  public static func randn(
    _ shape: [Int], generator: Generator? = nil, dtype: DType = .float32, device: Device = .cpu
  ) -> Tensor {
    defer { withExtendedLifetime(generator) {} }
    return Tensor(owned: withInts(shape) { ct_randn($0, generator?.handle, options(dtype, device)) })
  }

  /// Integers in `range`.
  public static func randint(
    _ range: Range<Int>, _ shape: [Int], generator: Generator? = nil, dtype: DType = .int64, device: Device = .cpu
  ) -> Tensor {
    defer { withExtendedLifetime(generator) {} }
    return Tensor(owned: withInts(shape) {
      ct_randint(Int64(range.lowerBound), Int64(range.upperBound), $0, generator?.handle, options(dtype, device))
    })
  }

  public static func randperm(_ count: Int, generator: Generator? = nil, device: Device = .cpu) -> Tensor {
    defer { withExtendedLifetime(generator) {} }
    return Tensor(owned: ct_randperm(Int64(count), generator?.handle, options(.int64, device)))
  }
}
