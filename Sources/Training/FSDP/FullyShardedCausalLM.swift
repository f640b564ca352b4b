import Checkpoints
import Models
import Parallelism
import Torch

/// A language model whose weights are sharded over the data-parallel ranks.
final class FullyShardedCausalLM {
  let model: CausalLM
  let sharded: FullyShardedModel
  private let device: Device

  init(
    _ configuration: ModelConfiguration, parallel: ParallelContext, computeType: DType, gradientCheckpointing: Bool
  ) throws {
    model = try CausalLM(configuration, tensorGroup: parallel.tensor, dtype: computeType)
    let parameters = model.parametersByBlock
    sharded = FullyShardedModel(
      root: parameters.root, blocks: parameters.blocks, group: parallel.data, device: parallel.device,
      computeType: computeType, gradientCheckpointing: gradientCheckpointing)
    device = parallel.device
  }

  /// Takes the weights of a Hugging Face folder; a rank reads what its shards hold.
  func load(_ folder: HuggingFaceFolder) throws {
    let loader = try WeightLoader(folder, for: model)
    for unit in sharded.units { try unit.fill { try loader.tensor($0, dtype: .float32) } }
  }

  /// Statistics of the response tokens; gradients flow only inside `withRoot`'s caller.
  func statistics(_ pack: PackedBatch, temperature: Double) -> TokenStatistics {
    let context = ForwardContext(
      positions: pack.positions, attention: PackedAttention(lengths: pack.lengths, device: device), runner: sharded)
    let hidden = model.hidden(pack.tokens, context).indexSelect(0, index: pack.predicting)
    return vocabularyLogProbs(
      logits: model.logits(hidden), targets: pack.targets, temperature: temperature, group: model.tensorGroup)
  }

  /// The same without gradients.
  func frozenStatistics(_ pack: PackedBatch, temperature: Double) -> TokenStatistics {
    withoutGradients { sharded.withRoot { statistics(pack, temperature: temperature) } }
  }
}
