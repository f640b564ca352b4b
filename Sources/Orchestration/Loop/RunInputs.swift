import Checkpoints
import Foundation
import Models
import Rollout
import Tokenization

/// What a run reads before anything is started: model folder, tokenizer, prompts, evaluation sets.
struct RunInputs {
  let configuration: TrainConfiguration
  let folder: HuggingFaceFolder
  let model: ModelConfiguration
  /// What the critic starts from.
  let criticFolder: HuggingFaceFolder
  let codec: PromptCodec?
  /// nil when the samples come from debug files.
  let source: RolloutDataSource?
  let evaluations: [EvaluationDataset]
  /// Rollouts of the whole run.
  let rolloutCount: Int

  init(_ configuration: TrainConfiguration) throws {
    self.configuration = configuration
    folder = try HuggingFaceFolder(URL(fileURLWithPath: configuration.checkpoint.hfCheckpoint))
    let provider = configuration.checkpoint.modelProvider
    model = try ModelRegistry.configuration(of: folder, provider: provider)
    criticFolder = try configuration.critic.huggingFaceLoad.map { try HuggingFaceFolder($0) } ?? folder
    if configuration.trains {
      try configuration.backend.check(configuration.trained(model), worldSize: configuration.cluster.trainerRanks)
      if let teacher = configuration.distillation.teacherLoad {
        let other = try ModelRegistry.configuration(
          of: HuggingFaceFolder(URL(fileURLWithPath: teacher)), provider: provider)
        try require(
          model.hasArchitecture(of: other),
          "--opd-teacher-load \(teacher) is not of the architecture of --hf-checkpoint \(configuration.checkpoint.hfCheckpoint), "
            + "whose place its weights take; give a teacher whose config.json agrees")
      }
      if configuration.usesCritic {
        try configuration.backend.check(
          ModelRegistry.configuration(of: criticFolder, provider: provider), worldSize: configuration.criticRanks)
      }
    }
    guard configuration.debug.loadRolloutData == nil else {
      (codec, source, evaluations) = (nil, nil, [])
      rolloutCount = configuration.data.rolloutCount ?? 0
      return
    }
    let tokenizer = try Tokenizer(folder: folder.url)
    var codec = PromptCodec(
      tokenizer: tokenizer, chatTemplate: try tokenizer.chatTemplate.map { try ChatTemplate(source: $0) })
    if model.vision != nil {
      codec.placeImages = { [model] tokens, images in
        try model.expandingImages(tokens, model.imageGrids(images))
      }
    }
    self.codec = codec
    let context = model.contextLength
    let dataset = try PromptDataset(
      path: configuration.data.promptData,
      options: configuration.datasetOptions(
        contextLength: context, maxPromptLength: configuration.rollout.maxPromptLength), codec: codec)
    let source = RolloutDataSource(
      dataset: dataset, samplesPerPrompt: configuration.rollout.samplesPerPrompt, shuffles: configuration.data.shuffle,
      seed: configuration.data.rolloutSeed)
    self.source = source
    evaluations = configuration.usesEngine
      ? try configuration.eval.datasets.map { try Self.evaluation($0, configuration, context: context, codec: codec) } : []
    let epochs = configuration.data.epochs ?? 1
    rolloutCount = configuration.data.rolloutCount ?? source.promptCount / configuration.rollout.batchSize * epochs
    guard rolloutCount > 0 || configuration.data.rolloutCount == 0 else {
      throw ConfigurationError(
        "--prompt-data \(configuration.data.promptData) has \(source.promptCount) prompts, fewer than --rollout-batch-size \(configuration.rollout.batchSize); lower it or give --num-rollout")
    }
  }

  private static func evaluation(
    _ set: EvalDataset, _ configuration: TrainConfiguration, context: Int, codec: PromptCodec
  ) throws -> EvaluationDataset {
    let eval = configuration.eval
    var options = try configuration.datasetOptions(
      contextLength: context, maxPromptLength: eval.maxPromptLength ?? configuration.rollout.maxPromptLength)
    if let key = eval.inputKey { options.inputKey = key }
    if let key = eval.labelKey { options.labelKey = key }
    if let key = eval.toolKey { options.toolKey = key }
    return EvaluationDataset(
      name: set.name, dataset: try PromptDataset(path: set.path, options: options, codec: codec),
      samplesPerPrompt: eval.samplesPerPrompt,
      sampling: configuration.evaluationOverrides.applied(to: configuration.sampling(contextLength: context)),
      rewardKey: eval.rewardKey ?? configuration.rollout.rewardKey)
  }
}
