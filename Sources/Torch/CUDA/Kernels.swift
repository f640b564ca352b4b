import CTorch

/// Our own kernels, for bf16 on a GPU, and some for CPUs too. Each stands for several operators and rounds where they do, so
/// that they are its oracle. Those of layers have gradients; their results can be `remade` from what the gradients need, and
/// those that products take can be `awaited`.
public enum Kernels {
  /// Whether they can run on a device, or are imagined to: on the meta device those of training only make their results.
  public static func run(on device: Device, _ dtype: DType) -> Bool {
    guard dtype == .bfloat16 else { return false }
    return device.kind == .cuda ? Runtime.hasStreams : device.kind == .meta && ImaginedRun.current?.device == .cuda
  }

  /// Whether those of layers run where there are no gradients: on a CPU in fp32 too.
  public static func runWithoutGradients(on device: Device, _ dtype: DType) -> Bool {
    run(on: device, dtype) || device.kind == .cpu && dtype == .float32
  }

  /// Ten times the major number and the minor one; 0 where it is not known.
  static func capability(of device: Device) -> Int32 {
    (try? CUDALibrary.call { $0.compute_capability(Int32(device.index)) }) ?? 0
  }

  static var table: ct_cuda_functions { ct_cuda()!.pointee }

  static func pair(_ body: (inout ct_tensor?, inout ct_tensor?) -> Void) -> (Tensor, Tensor) {
    var (first, second): (ct_tensor?, ct_tensor?) = (nil, nil)
    checked(body(&first, &second))
    return (Tensor(owned: first), Tensor(owned: second))
  }

  /// Bytes up to which a kernel has copied them before a copy engine would begin.
  private static let mostTransferred = 1 << 16

  /// Whether `transfer` copies a device's tensor faster than copy engines do.
  static func transfers(_ tensor: Tensor) -> Bool {
    tensor.device.kind == .cuda && run(on: tensor.device, .bfloat16) && tensor.isContiguous
      && tensor.byteCount <= mostTransferred && tensor.byteCount % 4 == 0
  }

  /// Copies between a device and pinned memory of the host, or on the device, without waiting for it.
  /// - Parameters:
  ///   - source: contiguous, as `target`, of as many bytes, a multiple of four.
  public static func transfer(_ source: Tensor, to target: Tensor) {
    withExtendedLifetime((source, target)) { checked(table.transfer(source.handle, target.handle)) }
  }

  /// Copies new keys and values to their slots of a paged cache.
  /// - Parameters:
  ///   - key: `[T, heads, dimension]`, as `value`.
  ///   - keys: `[slots, heads, dimension]`, as `values`.
  ///   - slots: `[T]`, int64
  /// - Returns: false: it knows no such tensors, and nothing was done.
  public static func writePages(key: Tensor, value: Tensor, keys: Tensor, values: Tensor, slots: Tensor) -> Bool {
    let width = key.size(1) * key.size(2)
    func isKnown(_ new: Tensor, _ memory: Tensor) -> Bool {
      new.size(1) * new.size(2) == width && new.dtype == memory.dtype && memory.isContiguous
        && new.strides[2] == 1 && new.strides[1] == new.size(2) && new.strides[0] % 8 == 0 && new.address % 16 == 0
    }
    guard key.device.kind == .cuda, run(on: key.device, key.dtype), width % 8 == 0, isKnown(key, keys), isKnown(value, values)
    else { return false }
    withExtendedLifetime((key, value, keys, values, slots)) {
      checked(table.write_pages(key.handle, value.handle, keys.handle, values.handle, slots.handle))
    }
    return true
  }

  /// Dimensions of a head that our attention is made for.
  public static let headDimensions: Set<Int> = [64, 128, 256]

  /// Whether `decodeAttention` and `invariantAttention` take heads of these dimensions.
  public static func attend(on device: Device, _ dtype: DType, dimension: Int, valueDimension: Int) -> Bool {
    device.kind == .cuda && run(on: device, dtype) && dimension == valueDimension && headDimensions.contains(dimension)
  }

  /// Attention of one query a row over the pages of its context.
  /// - Parameters:
  ///   - query: `[rows, heads, dimension]`; dimension one of `headDimensions`.
  ///   - keys: `[slots, keyValueHeads, dimension]`, as `values`.
  ///   - last: the key and value of each context's last token, where they are not in the cache yet: they are written there.
  ///     `[rows, keyValueHeads, dimension]`, each row's contiguous.
  ///   - isInvariant: whether a row's result is that of `invariantAttention`, whatever the other rows are.
  /// - Returns: `[rows, heads, dimension]`
  public static func decodeAttention(
    query: Tensor, last: (key: Tensor, value: Tensor)? = nil, keys: Tensor, values: Tensor, table contexts: PageTable,
    scale: Double, pageSize: Int, isInvariant: Bool = false
  ) -> Tensor {
    let (rows, kernel) = (query.size(0), isInvariant ? table.invariant_decode_attention! : table.decode_attention!)
    // Parts that each context is cut into keep some 132 processors busy, four blocks each. Invariant ones are kept until all
    // are put together, so there are several only for few rows; where blocks can form clusters, they are as many as those hold.
    let splits = isInvariant && rows > 16 ? 1 : min(32, max(1, 528 / (rows * keys.size(1))))
    return withExtendedLifetime((query, last, keys, values, contexts)) {
      Tensor(owned: kernel(
        query.handle, last?.key.handle, last?.value.handle, keys.handle, values.handle, contexts.pages.handle,
        contexts.lengths.handle, contexts.order.handle, scale, Int32(pageSize), Int32(splits)))
    }
  }

  /// silu(gate) · up of `[T, 2 · width]`, gate first. `[T, width]`; width a multiple of 8.
  public static func siluMultiply(_ both: Tensor) -> Tensor {
    let kept = both.detached()
    func product() -> Tensor {
      if kept.device.kind == .meta { return .empty([kept.size(0), kept.size(1) / 2], dtype: kept.dtype, device: kept.device) }
      let multiply = kept.device.kind == .cpu ? ct_silu_multiply : table.silu_multiply!
      return withExtendedLifetime(kept) { Tensor(owned: multiply(kept.handle)) }
    }
    let again = Remaking(isByTheWay: true, product)
    let output = function("SiluMultiply", [both], forward: { [product()] }) { gradients in
      [gradients[0].map { siluMultiplyGradient(kept, $0.contiguous(), remaking: again) }]
    }[0]
    if gradientsEnabled { output.again = again }
    return output
  }

  /// input + delta (nil: input itself), and its root-mean-square norm. All `[T, width]`; width a multiple of 8.
  public static func addNorm(_ input: Tensor, _ delta: Tensor?, weight: Tensor, epsilon: Double) -> (sum: Tensor, normed: Tensor) {
    let (hasDelta, scale) = (delta != nil, weight.detached())
    func made(_ input: Tensor, _ delta: Tensor?) -> (sum: Tensor, normed: Tensor) {
      if input.device.kind == .meta { return (delta == nil ? input : input.emptyLike(), input.emptyLike()) }
      let add = input.device.kind == .cpu ? ct_add_norm : table.add_norm!
      return withExtendedLifetime((input, delta, scale)) {
        pair { add(input.handle, delta?.handle, scale.handle, epsilon, &$0, &$1) }
      }
    }
    var kept: (sum: Tensor, again: Remaking)?
    let outputs = function("AddNorm", [input, weight] + (delta.map { [$0] } ?? [])) {
      let (sum, normed) = made(input, delta)
      let own = sum.detached()
      kept = (own, Remaking(isByTheWay: true) { made(own, nil).normed })
      return [sum, normed]
    } backward: { gradients in
      guard let byNormed = gradients[1], let kept else { return [gradients[0], nil] + (hasDelta ? [gradients[0]] : []) }
      let (byInput, byWeight) = addNormGradient(
        kept.sum, weight: scale, epsilon: epsilon, byNormed: byNormed.contiguous(), bySum: gradients[0]?.contiguous(),
        remaking: kept.again)
      return [byInput, byWeight] + (hasDelta ? [byInput] : [])
    }
    if gradientsEnabled { outputs[1].again = kept?.again }
    return (outputs[0], outputs[1])
  }

  /// Whether `normRotate` takes heads of which the first dimensions are rotated: a lane of a warp holds some of a head, all of
  /// which have their partners in one other lane.
  public static func rotate(_ rotated: Int, of dimension: Int) -> Bool { dimension % 32 == 0 && rotated % (dimension / 16) == 0 }

  /// Of what one product gives for attention: queries and keys, of which each head is normed where there is a weight, then
  /// rotated by halves of its first dimensions; and the rest as it is.
  /// - Parameters:
  ///   - projected: `[T, queries | gates | keys | values]`, heads · dimension each; of gates none or `heads`.
  ///   - cosine: `[T, 1, rotated dimensions]`, as `sine`; so many as `rotate` says yes to.
  /// - Returns: `[T, heads, dimension]` each; gates `[T, heads · dimension]`, nil where there are none.
  public static func normRotate(
    _ projected: Tensor, heads: Int, keyHeads: Int, dimension: Int, queryWeight: Tensor?, keyWeight: Tensor?, epsilon: Double,
    cosine: Tensor, sine: Tensor
  ) -> (query: Tensor, key: Tensor, value: Tensor, gates: Tensor?) {
    let inputs = NormRotation(
      HeadParts(projected.detached().contiguous(), heads: heads, keyHeads: keyHeads, dimension: dimension),
      queryWeight: queryWeight?.detached(), keyWeight: keyWeight?.detached(), epsilon: epsilon, cosine: cosine, sine: sine)
    func turned() -> [Tensor] {
      let (query, key) = inputs.turned()
      return [query, key]
    }
    let weights = [queryWeight, keyWeight].compactMap { $0 }
    let outputs = function("NormRotate", [projected] + weights) {
      // Autograd is shown tensors of their own, not views.
      turned() + ([inputs.parts.value] + (inputs.parts.gates.map { [$0] } ?? [])).map { $0.detached() }
    } backward: { inputs.gradients($0) }
    if gradientsEnabled { Tensor.remaking(Array(outputs.prefix(2)), turned) }
    return (outputs[0], outputs[1], outputs[2], outputs.count > 3 ? outputs[3] : nil)
  }

  /// Embeddings of tokens, and cosines and sines of their positions' angles, without gradients.
  /// - Parameters:
  ///   - tokens: `[T]`, int64, as `positions`.
  ///   - weight: `[vocabulary, width]`, width a multiple of 8.
  ///   - frequencies: fp32, half as many as dimensions are rotated.
  ///   - magnitude: what cosines and sines are multiplied by.
  /// - Returns: `[T, width]`; `[T, 1, rotated dimensions]` each.
  public static func embed(
    _ tokens: Tensor, weight: Tensor, positions: Tensor, frequencies: Tensor, magnitude: Double
  ) -> (hidden: Tensor, cosine: Tensor, sine: Tensor) {
    withExtendedLifetime((tokens, weight, positions, frequencies)) {
      var sine: ct_tensor?
      let (hidden, cosine) = pair {
        table.embed(tokens.handle, weight.handle, positions.handle, frequencies.handle, magnitude, &$0, &$1, &sine)
      }
      return (hidden, cosine, Tensor(owned: sine))
    }
  }
}
