import Parallelism
import Torch

/// How tokens look at those before them.
public protocol SelfAttention {
  /// `[T, hiddenSize]` → `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`)
  func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor
}

/// Grouped-query self-attention; biases, head norms, rotary positions, windows, soft caps, sinks and a gate of the output as
/// the configuration says.
public struct Attention: SelfAttention {
  let queryKeyValue: ColumnParallelLinear
  let output: RowParallelLinear
  private let queryNorm: HeadNorm
  private let keyNorm: HeadNorm
  /// `[this rank's heads]`
  private let sinks: Parameter?
  private let configuration: ModelConfiguration
  private let parallel: ParallelContext
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
    (self.configuration, self.layer, self.parallel) = (configuration, layer, parallel)
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
      parts: (configuration.gatesAttention ? ["q_proj", "q_gate"] : ["q_proj"]).map {
        .init($0, outputSize: querySize, sliceCount: group.size)
      } + ["k_proj", "v_proj"].map { .init($0, outputSize: keyValueSize, sliceCount: keyValueSlices) },
      inputSize: inputSize ?? configuration.hiddenSize, bias: configuration.queryKeyValueBias, initializer: initializer,
      parallel: parallel)
    output = RowParallelLinear(
      scope("o_proj"), inputSize: querySize, outputSize: configuration.hiddenSize, bias: configuration.outputBias,
      initializer: initializer, parallel: parallel)
    func norm(_ name: String, _ size: Int, _ sliceCount: Int) -> HeadNorm {
      let shape = [-1, size / sliceCount / configuration.headDimension, configuration.headDimension]
      switch configuration.queryKeyNorm {
      case nil: return .none(shape)
      case .perHead:
        // Each rank norms its own heads.
        return .perHead(
          configuration.makeNorm(
            scope(name), size: configuration.headDimension, sharing: WeightSharing(gradientIsPartial: group.size > 1)),
          shape)
      case .acrossHeads:
        return .acrossHeads(
          SplitRMSNorm(
            scope(name), size: size, sliceCount: sliceCount, epsilon: configuration.normEpsilon, group: group), shape)
      }
    }
    queryNorm = norm("q_norm", querySize, group.size)
    keyNorm = norm("k_norm", keyValueSize, keyValueSlices)
    sinks = configuration.hasAttentionSinks
      ? scope.parameter(
        "sinks", shape: [configuration.headCount], slice: parallel.tensorSlice(dimension: 0), initializer: initializer) : nil
  }

  public func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    output(attended(queryKeyValue(input), rotary: rotary, context: context))
  }

  /// From what the first product gives to what the last one takes: `[T, queries | gates | keys | values]` →
  /// `[T, heads · headDimension]`
  func attended(_ projected: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    let parts = placed(projected, rotary, context)
    let attended = context.attention.attend(
      query: parts.query, key: parts.key, value: parts.value, layer: layer, scale: configuration.attentionScale(layer: layer),
      rule: configuration.attentionRule(layer: layer, sinks: sinks?.tensor))
    let heads = attended.reshape([projected.size(0), headCount * headDimension])
    return parts.gates.map { heads * parallel.sigmoid($0) } ?? heads
  }

  /// The norms of queries' and of keys' heads, if there are any; nil: a kernel of ours doesn't know them.
  var headNormsForKernel: (query: RMSNorm?, key: RMSNorm?)? {
    queryNorm.isForKernel && keyNorm.isForKernel ? (queryNorm.ofHead, keyNorm.ofHead) : nil
  }

  /// Queries and keys, normed and turned by their positions, and values, `[T, heads, headDimension]`; gates, if there are any,
  /// `[T, heads · headDimension]`.
  private func placed(
    _ projected: Tensor, _ rotary: RotaryTable, _ context: ForwardContext
  ) -> (query: Tensor, key: Tensor, value: Tensor, gates: Tensor?) {
    let isRotary = configuration.positions == .rotary
    // The kernel knows RMS norms of heads, or none, and pairs that stand half the rotated dimensions apart.
    if context.fusesOperators, isRotary, !configuration.rotaryIsInterleaved, let norms = headNormsForKernel,
      Kernels.rotate(rotary.cosine.size(2), of: headDimension)
    {
      return Kernels.normRotate(
        projected, heads: headCount, keyHeads: keyValueHeadCount, dimension: headDimension,
        queryWeight: norms.query?.weight.tensor, keyWeight: norms.key?.weight.tensor, epsilon: norms.query?.epsilon ?? 0,
        cosine: rotary.cosine, sine: rotary.sine)
    }
    func rotate(_ heads: Tensor) -> Tensor {
      guard isRotary else { return heads }
      return configuration.rotaryIsInterleaved ? rotary.rotateInterleaved(heads) : rotary.rotate(heads)
    }
    let (queries, keys) = (headCount * headDimension, keyValueHeadCount * headDimension)
    let gates = configuration.gatesAttention ? [queries] : []
    let parts = projected.splitWithSizes([queries] + gates + [keys, keys], dim: 1)
    let (query, key, value) = (parts[0], parts[1 + gates.count], parts[2 + gates.count])
    return (
      rotate(queryNorm(query)), rotate(keyNorm(key)), value.view([value.size(0), keyValueHeadCount, headDimension]),
      gates.isEmpty ? nil : parts[1]
    )
  }
}

/// How queries or keys are normed, and the shape of their heads, `[-1, heads, headDimension]`.
private enum HeadNorm {
  case none([Int])
  case perHead(any Norm, [Int])
  case acrossHeads(SplitRMSNorm, [Int])

  /// `[T, heads · headDimension]` → `[T, heads, headDimension]`, normed.
  func callAsFunction(_ input: Tensor) -> Tensor {
    switch self {
    case .none(let shape): input.view(shape)
    case .perHead(let norm, let shape): norm(input.view(shape))
    case .acrossHeads(let norm, let shape): norm(input).view(shape)
    }
  }

  /// Of each head by itself; nil: there is none, or another kind.
  var ofHead: RMSNorm? {
    guard case .perHead(let norm, _) = self else { return nil }
    return norm as? RMSNorm
  }

  var isForKernel: Bool {
    switch self {
    case .none: true
    case .perHead(let norm, _): norm is RMSNorm
    case .acrossHeads: false
    }
  }
}
