import Parallelism
import Torch

extension DecoderLayer {
  /// The layer for a few rows that decode on a GPU, where kernels take longer to begin than to run: norms, activation and
  /// residuals are computed beside the four products.
  /// - Returns: nil: there is something that those kernels don't know.
  func decodingFewRows(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor? {
    guard context.fusesOperators, !gradientsEnabled, input.device.kind == .cuda, !parallel.isDeterministic,
      parallel.tensor.size == 1, !isParallel, attentionOutputNorm == nil, feedForwardOutputNorm == nil,
      let firstNorm = inputNorm as? RMSNorm, let secondNorm = feedForwardNorm as? RMSNorm,
      let attention = attention as? Attention, let feedForward = feedForward as? GatedFeedForward, feedForward.activation == .silu,
      let intoAttention = product(attention.queryKeyValue.weight, attention.queryKeyValue.bias, ofAsManyAs: input),
      let outOfAttention = product(attention.output.weight, attention.output.bias, ofAsManyAs: input),
      let gateUp = product(feedForward.gateUp.weight, feedForward.gateUp.bias, ofAsManyAs: input),
      let down = product(feedForward.down.weight, feedForward.down.bias, ofAsManyAs: input)
    else { return nil }
    let input = input.contiguous()
    let projected = intoAttention(.normed(input, weight: firstNorm.weight.tensor, epsilon: firstNorm.epsilon), nil)
    let heads = attention.attended(projected, rotary: rotary, context: context)
    let middle = outOfAttention(.plain(heads.contiguous()), input)
    return down(.gated(gateUp(.normed(middle, weight: secondNorm.weight.tensor, epsilon: secondNorm.epsilon), nil)), middle)
  }

  /// The layer as one kernel for all layers takes it; nil: there is something that it doesn't know.
  func forFewRows(keys: Tensor, values: Tensor) -> FewRowsLayers.Layer? {
    func plain(_ weight: Parameter, _ bias: Parameter?) -> (weight: Tensor, bias: Tensor?)? {
      weight.scales == nil ? (weight.tensor, bias?.tensor) : nil
    }
    guard !isParallel, attentionOutputNorm == nil, feedForwardOutputNorm == nil,
      let inputNorm = inputNorm as? RMSNorm, let middleNorm = feedForwardNorm as? RMSNorm,
      let attention = attention as? Attention, let (queryNorm, keyNorm) = attention.headNormsForKernel,
      let feedForward = feedForward as? GatedFeedForward, feedForward.activation == .silu,
      let queryKeyValue = plain(attention.queryKeyValue.weight, attention.queryKeyValue.bias),
      let output = plain(attention.output.weight, attention.output.bias),
      let gateUp = plain(feedForward.gateUp.weight, feedForward.gateUp.bias),
      let down = plain(feedForward.down.weight, feedForward.down.bias)
    else { return nil }
    return FewRowsLayers.Layer(
      inputNorm: inputNorm.weight.tensor, queryKeyValue: queryKeyValue, queryNorm: queryNorm?.weight.tensor,
      keyNorm: keyNorm?.weight.tensor, output: output, middleNorm: middleNorm.weight.tensor, gateUp: gateUp, down: down,
      keys: keys, values: values)
  }

  /// Rows times a weight, with a residual; nil: it is kept in another form, adapters add to it, or the rows are too many.
  private func product(
    _ weight: Parameter, _ bias: Parameter?, ofAsManyAs rows: Tensor
  ) -> ((FewRows, Tensor?) -> Tensor)? {
    guard weight.lowRankTerms == nil else { return nil }
    if let float8 = weight.float8 {
      guard Kernels.multiplyFewRows(rows, float8) else { return nil }
      return { Kernels.fewRowsFloat8Linear($0, float8, bias: bias?.tensor, residual: $1) }
    }
    guard weight.tensor.dtype == .bfloat16, Kernels.multiplyFewRows(rows.size(0), inputs: weight.shape[1]) else { return nil }
    return { Kernels.fewRowsLinear($0, weight.tensor, bias: bias?.tensor, residual: $1) }
  }
}

extension CausalLM {
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
      normEpsilon: configuration.normEpsilon, headNormEpsilon: configuration.normEpsilon, scale: scale, pageSize: pageSize)
  }
}
