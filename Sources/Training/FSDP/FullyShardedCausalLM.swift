import Checkpoints
import Models
import Parallelism
import Torch

/// A language model whose weights are sharded over the data-parallel ranks.
final class FullyShardedCausalLM {
  let model: CausalLM
  let sharded: FullyShardedModel
  private let parallel: ParallelContext

  init(
    _ configuration: ModelConfiguration, parallel: ParallelContext, computeType: DType, gradientCheckpointing: Bool
  ) throws {
    self.parallel = parallel
    model = try CausalLM(configuration, parallel: parallel, dtype: computeType)
    let parameters = model.parametersByBlock
    sharded = FullyShardedModel(
      root: parameters.root, blocks: parameters.blocks, group: parallel.dataContext, device: parallel.device,
      computeType: computeType, gradientCheckpointing: gradientCheckpointing)
  }

  /// Takes the weights of a Hugging Face folder; a rank reads what its shards hold.
  func load(_ folder: HuggingFaceFolder) throws {
    let loader = try WeightLoader(folder, for: model)
    for unit in sharded.units { try unit.fill { try loader.tensor($0, dtype: .float32) } }
  }

  /// Statistics of the response tokens; gradients flow only inside `withRoot`'s caller.
  func statistics(_ pack: PackedBatch, temperature: Double) -> TokenStatistics {
    let hidden = model.hidden(pack.tokens, pack.context(parallel, runner: sharded))
    return model.statistics(hidden, at: pack.predicting, targets: pack.targets, temperature: temperature)
  }
}
