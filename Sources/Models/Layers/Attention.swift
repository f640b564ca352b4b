import Parallelism
import Torch

/// How tokens look at those before them.
public protocol SelfAttention {
  /// `[T, hiddenSize]` → `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`)
  func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor
}

/// Grouped-query self-attention with rotary positions; biases and head norms as the configuration says.
public struct Attention: SelfAttention {
  let queryKeyValue: ColumnParallelLinear
  let output: RowParallelLinear
  let queryNorm: RMSNorm?
  let keyNorm: RMSNorm?
  let layer: Int
  let headDimension: Int
  /// Heads on this rank.
  let headCount: Int
  let keyValueHeadCount: Int

  /// - Parameter inputSize: nil: `hiddenSize`.
  public init(
    _ scope: ParameterScope, _ configuration: ModelConfiguration, layer: Int, inputSize: Int? = nil,
    parallel: ParallelContext
  ) {
    self.layer = layer
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
      inputSize: inputSize ?? configuration.hiddenSize, bias: configuration.queryKeyValueBias, initializer: initializer,
      parallel: parallel)
    output = RowParallelLinear(
      scope("o_proj"), inputSize: querySize, outputSize: configuration.hiddenSize, bias: configuration.outputBias,
      initializer: initializer, parallel: parallel)
    func norm(_ name: String) -> RMSNorm? {
      guard configuration.queryKeyNorm else { return nil }
      // Each rank norms its own heads.
      return RMSNorm(
        scope(name), size: configuration.headDimension, epsilon: configuration.normEpsilon,
        sharing: WeightSharing(gradientIsPartial: group.size > 1))
    }
    (queryNorm, keyNorm) = (norm("q_norm"), norm("k_norm"))
  }

  public func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    let (queries, keys) = (headCount * headDimension, keyValueHeadCount * headDimension)
    let parts = queryKeyValue(input).splitWithSizes([queries, keys, keys], dim: 1)
    let tokens = parts[0].size(0)
    var query = parts[0].view([tokens, headCount, headDimension])
    var key = parts[1].view([tokens, keyValueHeadCount, headDimension])
    let value = parts[2].view([tokens, keyValueHeadCount, headDimension])
    if context.fusesOperators {
      (query, key) = rotary.rotate(query, queryNorm, key, keyNorm)
    } else {
      if let queryNorm, let keyNorm { (query, key) = (queryNorm(query), keyNorm(key)) }
      (query, key) = (rotary.rotate(query), rotary.rotate(key))
    }
    let attended = context.attention.attend(
      query: query, key: key, value: value, layer: layer, scale: 1 / Double(headDimension).squareRoot())
    return output(attended.reshape([tokens, queries]))
  }
}
