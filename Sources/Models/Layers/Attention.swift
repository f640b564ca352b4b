import Parallelism
import Torch

/// How tokens look at those before them.
public protocol SelfAttention {
  /// `[T, hiddenSize]` → `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`)
  func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor
}

/// Grouped-query self-attention; biases, head norms, rotary positions, windows, soft caps and sinks as the configuration
/// says.
public struct Attention: SelfAttention {
  let queryKeyValue: ColumnParallelLinear
  let output: RowParallelLinear
  private let queryNorm: (Tensor) -> Tensor
  private let keyNorm: (Tensor) -> Tensor
  /// `[this rank's heads]`
  private let sinks: Parameter?
  private let configuration: ModelConfiguration
  let layer: Int
  let headDimension: Int
  /// Heads on this rank.
  let headCount: Int
  let keyValueHeadCount: Int

  public init(_ scope: ParameterScope, _ configuration: ModelConfiguration, layer: Int, parallel: ParallelContext) {
    (self.configuration, self.layer) = (configuration, layer)
    let group = parallel.tensor
    headDimension = configuration.headDimension
    headCount = configuration.headCount / group.size
    // Fewer key-value heads than ranks: several ranks hold the same one.
    let keyValueSlices = min(configuration.keyValueHeadCount, group.size)
    keyValueHeadCount = configuration.keyValueHeadCount / keyValueSlices
    let initializer = Initializer.normal(standardDeviation: configuration.initializerRange)
    let querySize = configuration.headCount * headDimension
    let keyValueSize = configuration.keyValueHeadCount * headDimension
    queryKeyValue = ColumnParallelLinear(
      scope, "qkv_proj",
      parts: [
        .init("q_proj", outputSize: querySize, sliceCount: group.size),
        .init("k_proj", outputSize: keyValueSize, sliceCount: keyValueSlices),
        .init("v_proj", outputSize: keyValueSize, sliceCount: keyValueSlices),
      ],
      inputSize: configuration.hiddenSize, bias: configuration.queryKeyValueBias, initializer: initializer,
      parallel: parallel)
    output = RowParallelLinear(
      scope("o_proj"), inputSize: querySize, outputSize: configuration.hiddenSize, bias: configuration.outputBias,
      initializer: initializer, parallel: parallel)
    /// `[T, heads · headDimension]` → `[T, heads, headDimension]`, normed.
    func norm(_ name: String, _ size: Int, _ sliceCount: Int) -> (Tensor) -> Tensor {
      let shape = [-1, size / sliceCount / configuration.headDimension, configuration.headDimension]
      switch configuration.queryKeyNorm {
      case nil: return { $0.view(shape) }
      case .perHead:
        // Each rank norms its own heads.
        let norm = configuration.makeNorm(
          scope(name), size: configuration.headDimension, sharing: WeightSharing(gradientIsPartial: group.size > 1))
        return { norm($0.view(shape)) }
      case .acrossHeads:
        let norm = SplitRMSNorm(
          scope(name), size: size, sliceCount: sliceCount, epsilon: configuration.normEpsilon, group: group)
        return { norm($0).view(shape) }
      }
    }
    queryNorm = norm("q_norm", querySize, group.size)
    keyNorm = norm("k_norm", keyValueSize, keyValueSlices)
    sinks = configuration.hasAttentionSinks
      ? scope.parameter(
        "sinks", shape: [configuration.headCount], slice: parallel.tensorSlice(dimension: 0), initializer: initializer) : nil
  }

  public func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    let (queries, keys) = (headCount * headDimension, keyValueHeadCount * headDimension)
    let parts = queryKeyValue(input).splitWithSizes([queries, keys, keys], dim: 1)
    let tokens = parts[0].size(0)
    func rotate(_ heads: Tensor) -> Tensor {
      guard configuration.positions == .rotary else { return heads }
      return configuration.rotaryIsInterleaved ? rotary.rotateInterleaved(heads) : rotary.rotate(heads)
    }
    let attended = context.attention.attend(
      query: rotate(queryNorm(parts[0])), key: rotate(keyNorm(parts[1])),
      value: parts[2].view([tokens, keyValueHeadCount, headDimension]), layer: layer,
      scale: configuration.attentionScale(layer: layer), rule: configuration.attentionRule(layer: layer, sinks: sinks?.tensor))
    return output(attended.reshape([tokens, queries]))
  }
}
