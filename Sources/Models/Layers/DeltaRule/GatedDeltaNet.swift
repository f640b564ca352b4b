import Parallelism
import Torch

/// A layer of gated delta rule in the place of attention (Yang et al., "Gated Delta Networks", 2024), as Qwen3-Next has it:
/// queries, keys and values go through a short causal convolution; queries and keys are of unit length; what is read is
/// normed, and gated by a projection of its own.
///
/// Tensor parallelism divides heads: each rank has some heads of keys and those of values that they serve.
struct GatedDeltaNet: SelfAttention {
  /// queries | keys | values | shares | decays | gates
  private let input: ColumnParallelLinear
  /// `[channels, 1, taps]`
  private let convolution: Parameter
  /// log of how fast each head forgets, and what is added to what a token says of it. `[valueHeads]`
  private let logRate, rateBias: Parameter
  private let norm: RMSNorm
  private let output: RowParallelLinear
  private let linear: LinearAttentionConfiguration
  private let activation: Activation
  private let parallel: ParallelContext
  private let layer: Int
  /// On this rank.
  private let keyHeads, valueHeads: Int

  init(
    _ scope: ParameterScope, _ linear: LinearAttentionConfiguration, _ configuration: ModelConfiguration, layer: Int,
    parallel: ParallelContext
  ) {
    (self.linear, self.layer, self.parallel, activation) = (linear, layer, parallel, configuration.activation)
    let (size, initializer) = (parallel.tensor.size, Initializer.normal(standardDeviation: configuration.initializerRange))
    (keyHeads, valueHeads) = (linear.keyHeadCount / size, linear.valueHeadCount / size)
    let keys = linear.keyHeadCount * linear.keyDimension
    let values = linear.valueHeadCount * linear.valueDimension
    let channels = [("q", keys), ("k", keys), ("v", values)]
    input = ColumnParallelLinear(
      scope, "in_proj",
      parts: (channels + [("b", linear.valueHeadCount), ("a", linear.valueHeadCount), ("z", values)]).map {
        .init("in_proj_" + $0.0, outputSize: $0.1, sliceCount: size)
      }, inputSize: configuration.hiddenSize, bias: false, initializer: initializer, parallel: parallel)
    let slice = parallel.tensorSlice(dimension: 0)
    convolution = scope("conv1d").parameter(
      "weight",
      pieces: channels.map { name, width in
        ParameterPiece(scope("conv1d_" + name).name("weight"), shape: [width, 1, linear.taps], slice: slice)
      }, initializer: initializer)
    logRate = scope.parameter("A_log", shape: [linear.valueHeadCount], slice: slice, initializer: .constant(0))
    rateBias = scope.parameter("dt_bias", shape: [linear.valueHeadCount], slice: slice, initializer: .constant(1))
    // Each rank norms its own heads.
    norm = RMSNorm(
      scope("norm"), size: linear.valueDimension, epsilon: configuration.normEpsilon,
      sharing: WeightSharing(gradientIsPartial: size > 1))
    output = RowParallelLinear(
      scope("out_proj"), inputSize: values, outputSize: configuration.hiddenSize, bias: false, initializer: initializer,
      parallel: parallel)
  }

  func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    let width = linear.channelCount / parallel.tensor.size + 2 * valueHeads
    let parts = self.input(input).splitWithSizes([width, valueHeads * linear.valueDimension], dim: 1)
    let read = context.attention.recur(
      parts[0], parameters: [convolution, logRate, rateBias].map(\.tensor), layer: layer, scan)
    let gate = parallel.silu(parts[1].to(dtype: .float32)).unflatten(1, sizes: [valueHeads, linear.valueDimension])
    return output((norm(read) * gate).to(dtype: parts[0].dtype).flatten(1))
  }

  /// queries | keys | values | shares | decays → `[T, valueHeads, valueDimension]`
  private func scan(
    _ rows: Tensor, _ sequences: SequenceRows, _ states: RecurrentStates?
  ) -> (output: Tensor, states: RecurrentStates?) {
    let (keys, values) = (keyHeads * linear.keyDimension, valueHeads * linear.valueDimension)
    let parts = rows.splitWithSizes([2 * keys + values, valueHeads, valueHeads], dim: 1)
    let (mixed, window) = convolved(parts[0], sequences.convolution(taps: linear.taps), states?.window)
    let heads = mixed.splitWithSizes([keys, keys, values], dim: 1)
    func unit(_ part: Tensor) -> Tensor {
      let heads = part.unflatten(1, sizes: [keyHeads, linear.keyDimension])
      let unit = heads * (heads.square().sum([2], keepdim: true) + 1e-6).rsqrt()
      return keyHeads == valueHeads ? unit : unit.repeatInterleave(valueHeads / keyHeads, dim: 1)
    }
    let rate = logRate.tensor.to(dtype: .float32).exp()
    let inputs = GatedDeltaRule.Inputs(
      query: unit(heads[0]) * (1 / Double(linear.keyDimension).squareRoot()), key: unit(heads[1]),
      value: heads[2].unflatten(1, sizes: [valueHeads, linear.valueDimension]),
      logDecay: -((parts[2].to(dtype: .float32) + rateBias.tensor.to(dtype: .float32)).softplus() * rate),
      share: parts[1].to(dtype: .float32).sigmoid())
    let (read, memory) = GatedDeltaRule.run(
      inputs, sequences.chunks, state: states?.memory, wantsState: states != nil)
    let output = read.to(dtype: rows.dtype)
    guard let window, let memory else { return (output, nil) }
    return (output, RecurrentStates(window: window, memory: memory))
  }

  /// The activation of each channel's weighted sum over the last tokens of its sequence, in fp32.
  /// - Parameter window: the inputs before each sequence's first token; nil: zero.
  private func convolved(
    _ channels: Tensor, _ rows: ConvolutionRows, _ window: Tensor?
  ) -> (output: Tensor, window: Tensor?) {
    let (before, width) = (linear.taps - 1, channels.size(1))
    let earlier = window?.flatten(0, endDim: 1)
      ?? .zeros([rows.sequenceCount * before, width], dtype: channels.dtype, device: channels.device)
    let padded = Tensor.cat([earlier, channels]).indexSelect(0, index: rows.padded)
    let (wide, weight) = (padded.to(dtype: .float32), convolution.tensor.to(dtype: .float32).squeeze(1))
    let sums = (0..<linear.taps).map { tap in
      wide.narrow(0, start: tap, length: wide.size(0) - before) * weight.select(1, index: tap)
    }
    let all = sums.dropFirst().reduce(sums[0], +)
    let own = rows.first.map { all.indexSelect(0, index: $0) } ?? all
    let last = window.map { _ in
      padded.indexSelect(0, index: rows.last).unflatten(0, sizes: [rows.sequenceCount, before])
    }
    return (activation(own, parallel), last)
  }
}
