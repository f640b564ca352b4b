import Checkpoints
import Models
import Parallelism
import Torch

/// A language model whose weights are sharded over ranks that train on different tokens.
final class FullyShardedCausalLM {
  let model: CausalLM
  let sharded: FullyShardedModel
  private let parallel: ParallelContext
  private let attention: AttentionImplementation

  init(_ configuration: ModelConfiguration, options: TrainingOptions, parallel: ParallelContext) throws {
    self.parallel = parallel
    attention = try options.attention(of: configuration, parallel)
    model = try CausalLM(configuration, parallel: parallel, dtype: options.computeType)
    var sharding = FullyShardedModel.Options()
    sharding.computeType = options.computeType
    sharding.gradientCheckpointing = options.gradientCheckpointing
    sharding.offloadsToHost = options.fsdp.offloadsToHost
    let parameters = model.parametersByBlock
    sharded = FullyShardedModel(root: parameters.root, blocks: parameters.blocks, options: sharding, parallel: parallel)
  }

  /// Takes the weights of a Hugging Face folder; a rank reads what its shards hold.
  func load(_ folder: HuggingFaceFolder) throws {
    let loader = try WeightLoader(folder, for: model)
    for unit in sharded.units { try unit.fill { try loader.tensor($0, dtype: .float32) } }
  }

  /// Statistics of the response tokens, inside a pass of `sharded`.
  func statistics(_ pack: PackedBatch, temperature: Double) -> TokenStatistics {
    let context = pack.context(parallel, runner: sharded, implementation: attention)
    let hidden = model.hidden(pack.tokens, context)
    return model.statistics(hidden, at: pack.predicting, targets: pack.targets, temperature: temperature)
  }
}
