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
