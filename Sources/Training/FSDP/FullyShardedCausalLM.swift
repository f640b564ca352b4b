import Checkpoints
import Models
import Parallelism
import Torch

/// A language model whose weights are sharded over ranks that train on different tokens.
final class FullyShardedCausalLM {
  let model: CausalLM
  let sharded: FullyShardedModel
  /// What a rank that holds all experts would have; where they are not divided, what each has.
  let undivided: ParameterTable
  private let parallel: ParallelContext
  private let attention: AttentionImplementation

  init(_ configuration: ModelConfiguration, options: TrainingOptions, parallel: ParallelContext) throws {
    self.parallel = parallel
    attention = try options.attention(of: configuration, parallel)
    model = try configuration.model(parallel: parallel, dtype: options.computeType)
    var sharding = FullyShardedModel.Options()
    (sharding.computeType, sharding.precision) = (options.computeType, options.precision)
    sharding.gradientCheckpointing = options.gradientCheckpointing
    sharding.offloadsToHost = options.fsdp.offloadsToHost
    undivided = parallel.expert.size == 1
      ? model.table
      : try configuration.model(
        parallel: .imagined(ParallelLayout(worldSize: 1), rank: 0), dtype: options.computeType).table
    let parameters = model.parametersByBlock
    sharded = FullyShardedModel(root: parameters.root, blocks: parameters.blocks, options: sharding, parallel: parallel)
  }

  /// Takes the weights of a Hugging Face folder; a rank reads what its shards hold.
  /// - Parameter predictionIsOptional: see `WeightLoader`.
  func load(_ folder: HuggingFaceFolder, predictionIsOptional: Bool) throws {
    let loader = try WeightLoader(folder, for: model, predictionIsOptional: predictionIsOptional)
    for part in sharded.parts { try part.fill { try loader.tensor($0, dtype: .float32) } }
  }

  /// What the head says of the response tokens, inside a pass of `sharded`, and in training the prediction layers of those
  /// further on.
  func output(
    _ pack: PackedBatch, policy: Policy, isTraining: Bool, temperature: Double
  ) -> (head: HeadOutput, further: [Tensor]) {
    let context = pack.context(
      model, policy: policy, isTraining: isTraining, runner: sharded, implementation: attention)
    let hidden = model.hidden(pack.tokens, context)
    return (
      model.output(hidden, at: pack.predicting, targets: pack.targets, temperature: temperature),
      isTraining ? model.furtherLogProbs(hidden, pack, context) : []
    )
  }
}
