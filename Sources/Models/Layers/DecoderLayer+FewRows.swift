import Parallelism
import Torch

extension DecoderLayer {
  /// The layer for a few rows that decode on a GPU, where kernels take longer to begin than to run: norms, activation and
  /// residuals are computed beside the four products; in deterministic mode in the bits of the kernels for many rows.
  /// - Returns: nil: there is something that those kernels don't know.
  func decodingFewRows(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor? {
    guard context.fusesOperators, !gradientsEnabled, input.device.kind == .cuda, parallel.tensor.size == 1,
      let parts = knownParts, let intoAttention = parallel.fewRowsProduct(parts.queryKeyValue, of: input),
      let outOfAttention = parallel.fewRowsProduct(parts.output, of: input),
      let gateUp = parallel.fewRowsProduct(parts.gateUp, of: input),
      let down = parallel.fewRowsProduct(parts.down, of: input)
    else { return nil }
    func normed(_ input: Tensor, _ norm: RMSNorm) -> FewRows {
      .normed(input, weight: norm.weight.tensor, epsilon: norm.epsilon)
    }
    let input = input.contiguous()
    let heads = parts.attention.attended(intoAttention(normed(input, parts.inputNorm), nil), rotary: rotary, context: context)
    let middle = outOfAttention(.plain(heads.contiguous()), input)
    return down(.gated(gateUp(normed(middle, parts.middleNorm), nil)), middle)
  }

  /// The layer as one kernel for all layers takes it; nil: there is something that it doesn't know.
  func forFewRows(keys: Tensor, values: Tensor) -> FewRowsLayers.Layer? {
    func matrix(_ linear: KnownParts.Linear) -> FewRowsLayers.Matrix {
      let bias = linear.bias?.tensor
      return linear.weight.float8.map { FewRowsLayers.Matrix($0, bias: bias) } ?? .init(linear.weight.tensor, bias: bias)
    }
    guard let parts = knownParts, let (queryNorm, keyNorm) = parts.attention.headNormsForKernel else { return nil }
    return FewRowsLayers.Layer(
      inputNorm: parts.inputNorm.weight.tensor, queryKeyValue: matrix(parts.queryKeyValue),
      queryNorm: queryNorm?.weight.tensor, keyNorm: keyNorm?.weight.tensor, output: matrix(parts.output),
      middleNorm: parts.middleNorm.weight.tensor, gateUp: matrix(parts.gateUp), down: matrix(parts.down), keys: keys,
      values: values)
  }

  private struct KnownParts {
    typealias Linear = (weight: Parameter, bias: Parameter?)

    let inputNorm: RMSNorm
    let attention: Attention
    let middleNorm: RMSNorm
    let feedForward: GatedFeedForward

    var queryKeyValue: Linear { (attention.queryKeyValue.weight, attention.queryKeyValue.bias) }
    var output: Linear { (attention.output.weight, attention.output.bias) }
    var gateUp: Linear { (feedForward.gateUp.weight, feedForward.gateUp.bias) }
    var down: Linear { (feedForward.down.weight, feedForward.down.bias) }
  }

  /// The layer as those kernels know it: x + attention(norm x), then x + feedForward(norm x), with SiLU.
  private var knownParts: KnownParts? {
    guard !isParallel, attentionOutputNorm == nil, feedForwardOutputNorm == nil,
      let inputNorm = inputNorm as? RMSNorm, let middleNorm = feedForwardNorm as? RMSNorm,
      let attention = attention as? Attention, let feedForward = feedForward as? GatedFeedForward, feedForward.activation == .silu
    else { return nil }
    return KnownParts(inputNorm: inputNorm, attention: attention, middleNorm: middleNorm, feedForward: feedForward)
  }
}

extension CausalLM {
  /// Logits of a few rows that decode on a GPU, their final norm computed beside the product; nil: there is something that such
  /// a kernel doesn't know.
  func fewRowsLogits(_ hidden: Tensor, _ norm: RMSNorm) -> Tensor? {
    guard !gradientsEnabled, hidden.device.kind == .cuda, hidden.dtype == .bfloat16, parallel.tensor.size == 1,
      let head = headWeight.flatMap({ parallel.fewRowsProduct(($0, nil), of: hidden) })
    else { return nil }
    return head(.normed(hidden.contiguous(), weight: norm.weight.tensor, epsilon: norm.epsilon), nil)
  }

  /// All layers as one kernel for a few rows that decode; nil: they have something that it doesn't know.
  /// - Parameters:
  ///   - keys: each layer's pages, as `values`.
  public func layersForFewRows(keys: [Tensor], values: [Tensor], pageSize: Int) -> FewRowsLayers? {
    let scales = Set(stage.layers.map { configuration.attentionScale(layer: $0) })
    guard !parallel.isDeterministic, parallel.tensor.size == 1, stage.isWhole(of: configuration),
      configuration.positions == .rotary, !configuration.rotaryIsInterleaved, !configuration.gatesAttention,
      configuration.windowedLayers.isEmpty, configuration.attentionSoftCap == nil, !configuration.hasAttentionSinks,
      let scale = scales.first, scales.count == 1,
      Kernels.rotate(configuration.rotatedDimension ?? configuration.headDimension, of: configuration.headDimension),
      Kernels.attend(
        on: parallel.device, table.dtype, dimension: configuration.headDimension,
        valueDimension: configuration.valueHeadDimension)
    else { return nil }
    let known = zip(layers, zip(keys, values)).compactMap { ($0 as? DecoderLayer)?.forFewRows(keys: $1.0, values: $1.1) }
    guard known.count == layers.count else { return nil }
    return FewRowsLayers(
      known, heads: configuration.headCount, keyValueHeads: configuration.keyValueHeadCount,
      normEpsilon: configuration.normEpsilon, scale: scale, pageSize: pageSize)
  }
}

extension ParallelContext {
  /// Rows times a weight, with a residual; nil: it is kept in another form, adapters add to it, or the rows are too many.
  fileprivate func fewRowsProduct(
    _ linear: (weight: Parameter, bias: Parameter?), of rows: Tensor
  ) -> ((FewRows, Tensor?) -> Tensor)? {
    let (weight, bias) = linear
    guard weight.lowRankTerms == nil else { return nil }
    if isDeterministic {
      guard weight.float8 == nil, Kernels.multiplyFewRowsInvariantly(rows, weight.tensor) else { return nil }
      return { Kernels.fewRowsLinear($0, weight.tensor, bias: bias?.tensor, residual: $1, isInvariant: true) }
    }
    if let float8 = weight.float8 {
      guard Kernels.multiplyFewRows(rows, float8) else { return nil }
      return { Kernels.fewRowsFloat8Linear($0, float8, bias: bias?.tensor, residual: $1) }
    }
    guard weight.tensor.dtype == .bfloat16, Kernels.multiplyFewRows(rows.size(0), inputs: weight.shape[1]) else { return nil }
    return { Kernels.fewRowsLinear($0, weight.tensor, bias: bias?.tensor, residual: $1) }
  }
}
