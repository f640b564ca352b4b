import Parallelism
import Torch

/// Multi-head latent attention (DeepSeek-AI, "DeepSeek-V2", 2024): keys and values of all heads come from one small vector
/// of each token; a part of each key, the same in all heads, carries the position.
///
/// The small vectors are made whole on every tensor-parallel rank, of its own part of the sequence where that is split;
/// heads are divided.
public struct LatentAttention: SelfAttention {
  /// Query heads: from the hidden state, or from a small vector of their own.
  private let queryDown: ReplicatedLinear?
  private let queryNorm: RMSNorm?
  private let queryUp: ColumnParallelLinear
  private let keyValueDown: ReplicatedLinear
  private let keyValueNorm: RMSNorm
  private let keyValueUp: ColumnParallelLinear
  private let output: RowParallelLinear
  private let latent: LatentAttentionConfiguration
  private let scale: Double
  private let layer: Int
  /// Heads on this rank.
  private let headCount: Int
  private let parallel: ParallelContext

  /// Of the norms between down and up; `transformers` does not take them from config.json either.
  private static let normEpsilon = 1e-6

  init(
    _ scope: ParameterScope, _ latent: LatentAttentionConfiguration, _ configuration: ModelConfiguration, layer: Int,
    parallel: ParallelContext
  ) {
    (self.latent, self.layer, self.parallel) = (latent, layer, parallel)
    headCount = configuration.headCount / parallel.tensor.size
    scale = configuration.attentionScale(layer: layer)
    let initializer = Initializer.normal(standardDeviation: configuration.initializerRange)
    func down(_ name: String, _ size: Int) -> ReplicatedLinear {
      ReplicatedLinear(
        scope(name), inputSize: configuration.hiddenSize, outputSize: size, bias: configuration.queryKeyValueBias,
        initializer: initializer, parallel: parallel)
    }
    func up(_ name: String, from size: Int, perHead: Int) -> ColumnParallelLinear {
      ColumnParallelLinear(
        scope, name, parts: [.init(name, outputSize: configuration.headCount * perHead, sliceCount: parallel.tensor.size)],
        inputSize: size, bias: false, initializer: initializer, parallel: parallel)
    }
    func norm(_ name: String, _ size: Int) -> RMSNorm {
      RMSNorm(scope(name), size: size, epsilon: Self.normEpsilon, sharing: parallel.sequenceSharing)
    }
    if let rank = latent.queryRank {
      queryDown = down("q_a_proj", rank)
      queryNorm = norm("q_a_layernorm", rank)
      queryUp = up("q_b_proj", from: rank, perHead: latent.queryDimension)
    } else {
      (queryDown, queryNorm) = (nil, nil)
      queryUp = up("q_proj", from: configuration.hiddenSize, perHead: latent.queryDimension)
    }
    keyValueDown = down("kv_a_proj_with_mqa", latent.keyValueRank + latent.rotatedDimension)
    keyValueNorm = norm("kv_a_layernorm", latent.keyValueRank)
    keyValueUp = up("kv_b_proj", from: latent.keyValueRank, perHead: latent.plainDimension + latent.valueDimension)
    output = RowParallelLinear(
      scope("o_proj"), inputSize: configuration.headCount * latent.valueDimension, outputSize: configuration.hiddenSize,
      bias: configuration.outputBias, initializer: initializer, parallel: parallel)
  }

  public func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    func rotate(_ heads: Tensor) -> Tensor { latent.isInterleaved ? rotary.rotateInterleaved(heads) : rotary.rotate(heads) }
    func heads(_ rows: Tensor, _ first: Int, _ second: Int) -> [Tensor] {
      rows.view([rows.size(0), headCount, first + second]).splitWithSizes([first, second], dim: 2)
    }
    let queryInput = queryDown.map { queryNorm!($0(input)) } ?? input
    let query = heads(queryUp(queryInput), latent.plainDimension, latent.rotatedDimension)
    let small = keyValueDown(input).splitWithSizes([latent.keyValueRank, latent.rotatedDimension], dim: 1)
    let keyValue = heads(keyValueUp(keyValueNorm(small[0])), latent.plainDimension, latent.valueDimension)
    // Each rank uses it for its own heads.
    let sharedKey = rotate(parallel.enteringTensorParallel(small[1]).unsqueeze(1))
    let tokens = sharedKey.size(0)
    let attended = context.attention.attend(
      query: Tensor.cat([query[0], rotate(query[1])], dim: 2),
      key: Tensor.cat([keyValue[0], sharedKey.expand([tokens, headCount, latent.rotatedDimension])], dim: 2),
      value: keyValue[1].contiguous(), layer: layer, scale: scale, rule: .plain)
    return output(attended.reshape([tokens, headCount * latent.valueDimension]))
  }
}
