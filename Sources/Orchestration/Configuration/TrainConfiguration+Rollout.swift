import Foundation
import JSON
import Rollout

// What generation and evaluation need of the command line.
extension TrainConfiguration {
  package func sampling(contextLength: Int) -> RolloutSampling {
    let context = rollout.maxContextLength ?? engine.contextLength ?? contextLength
    var sampling = RolloutSampling(maxResponseLength: rollout.maxResponseLength ?? context)
    sampling.maxContextLength = context
    (sampling.temperature, sampling.topP, sampling.topK) = (rollout.temperature, rollout.topP, rollout.topK)
    (sampling.stop, sampling.stopTokenIDs) = (rollout.stop, rollout.stopTokenIDs)
    sampling.skipSpecialTokens = rollout.skipSpecialTokens
    return sampling
  }

  func generation(contextLength: Int) throws -> RolloutConfiguration {
    var generation = RolloutConfiguration(
      rolloutBatchSize: rollout.batchSize, sampling: sampling(contextLength: contextLength))
    generation.sampling.returnsRoutedExperts = backend.parallel.rolloutRoutingReplay
    generation.overSamplingBatchSize = rollout.overSamplingBatchSize ?? rollout.batchSize
    generation.concurrency = serverConcurrency * cluster.engineCount
    generation.samplingSeed = data.rolloutSeed
    generation.rewardKey = rollout.rewardKey
    generation.filter = try rollout.dynamicSamplingFilter.map(DynamicSamplingFilter.named)
    (generation.partialRollout, generation.masksOffPolicyTokens) = (rollout.partialRollout, rollout.maskOffPolicy)
    return generation
  }

  var evaluationOverrides: EvaluationOverrides {
    var overrides = EvaluationOverrides()
    (overrides.temperature, overrides.topP, overrides.topK) = (eval.temperature, eval.topP, eval.topK)
    overrides.minNewTokens = eval.minNewTokens
    overrides.maxResponseLength = eval.maxResponseLength
    overrides.maxContextLength = eval.maxContextLength
    return overrides
  }

  package func datasetOptions(contextLength: Int, maxPromptLength: Int?) throws -> PromptDataset.Options {
    var options = PromptDataset.Options()
    (options.inputKey, options.labelKey) = (data.inputKey, data.labelKey)
    (options.metadataKey, options.toolKey) = (data.metadataKey, data.toolKey)
    options.applyChatTemplate = data.applyChatTemplate && !isSupervised
    options.chatTemplateArguments = try chatTemplateArguments()
    options.imageKey = try imageKey()
    options.keepsMessages = isSupervised
    if !isSupervised {
      let context = rollout.maxContextLength ?? engine.contextLength ?? contextLength
      options.maximumPromptLength = maxPromptLength ?? context - 1
    }
    return options
  }

  /// The column that `--multimodal-keys` names.
  private func imageKey() throws(ConfigurationError) -> String? {
    guard let text = data.multimodalKeys else { return nil }
    guard let keys = try? JSONValue(parsing: text).object, let key = keys["image"]?.string, keys.keys.count == 1 else {
      throw ConfigurationError(
        "--multimodal-keys \(text) is not understood; pictures alone are supported: write '{\"image\": \"COLUMN\"}'")
    }
    try require(
      data.applyChatTemplate && !isSupervised,
      "--multimodal-keys needs --apply-chat-template, which makes the places of pictures, and a rollout that generates")
    return key
  }

  func chatTemplateArguments() throws(ConfigurationError) -> JSONObject {
    guard let arguments = try? JSONValue(parsing: data.chatTemplateArguments).object else {
      throw ConfigurationError(
        "--apply-chat-template-kwargs \(data.chatTemplateArguments) is not a JSON object; write for example '{\"enable_thinking\": false}'")
    }
    return arguments
  }

  var rewardNormalization: RewardNormalization {
    RewardNormalization(
      advantageEstimator: algorithm.advantageEstimator.rawValue, disableRewardsNormalization: !algorithm.normalizeRewards,
      disableGRPOStandardDeviation: !algorithm.normalizeRewardsByDeviation)
  }
}
