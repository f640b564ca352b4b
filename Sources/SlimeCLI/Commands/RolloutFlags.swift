import Orchestration
import Rollout

extension SamplingConfiguration {
  static let flags: [Flag<Self>] = [
    .option("rollout-batch-size", \.batchSize, "prompts a rollout trains on (required)"),
    .option("n-samples-per-prompt", \.samplesPerPrompt, "responses to each prompt"),
    .option("over-sampling-batch-size", \.overSamplingBatchSize, "prompts sampled at a time; default --rollout-batch-size"),
    .option(
      "dynamic-sampling-filter-path", \.dynamicSamplingFilter,
      "NAME", "groups to drop, by slime's function: …check_reward_nonzero_std"),
    .option(
      "rollout-function-path", \.function, "slime.rollout.{sglang,sft}_rollout.generate_rollout; default by --loss-type"),
    .option("rollout-temperature", \.temperature, "sampling temperature, above 0"),
    .option("rollout-top-p", \.topP, "sample from the most likely tokens of this total probability"),
    .option("rollout-top-k", \.topK, "sample from this many of the most likely tokens; -1: all"),
    .option("rollout-max-context-len", \.maxContextLength, "TOKENS", "prompt and response together; default config.json's"),
    .option("rollout-max-prompt-len", \.maxPromptLength, "TOKENS", "leave out longer prompts; default: the context less one"),
    .option("rollout-max-response-len", \.maxResponseLength, "TOKENS", "longest response; default: to the end of the context"),
    .list("rollout-stop", \.stop, "TEXT", "end a response at any of these texts"),
    .list("rollout-stop-token-ids", \.stopTokenIDs, "ID", "end a response at any of these tokens"),
    .toggle("rollout-skip-special-tokens", \.skipSpecialTokens, "leave special tokens out of the response text"),
    .toggle("partial-rollout", \.partialRollout, "continue aborted responses in the next rollout"),
    .toggle("mask-offpolicy-in-partial-rollout", \.maskOffPolicy, "train only on what was sampled since"),
    .option("reward-key", \.rewardKey, "KEY", "which value of a reward that has several is learned from"),
    .option("rm-type", \.rewardModelType, "NAME", "reward: math, deepscaler; a row's metadata.rm_type goes first"),
  ]
}

extension DataConfiguration {
  static let flags: [Flag<Self>] = [
    .option("prompt-data", \.promptData, "FILE", "jsonl of prompts; FILE@[a:b] takes some of its rows"),
    .option("input-key", \.inputKey, "KEY", "field of a row that holds the prompt"),
    .option("label-key", \.labelKey, "KEY", "field that holds the label"),
    .option("metadata-key", \.metadataKey, "KEY", "field that holds the metadata"),
    .option("tool-key", \.toolKey, "KEY", "field that holds the tools"),
    .option("multimodal-keys", \.multimodalKeys, "JSON", "column of pictures for <image> in prompts: '{\"image\": \"COLUMN\"}'"),
    .toggle("apply-chat-template", \.applyChatTemplate, "put the prompt into the model's chat template"),
    .option("apply-chat-template-kwargs", \.chatTemplateArguments, "JSON", "extra variables of the template"),
    .option("loss-mask-type", \.lossMaskType, "trained turns of a conversation (sft_loss only)"),
    .toggle("rollout-shuffle", \.shuffle, "shuffle the rows in every epoch"),
    .option("rollout-seed", \.rolloutSeed, "seed of the data order and of sampling"),
    .option("num-rollout", \.rolloutCount, "rollouts in all; 0 only evaluates"),
    .option("num-epoch", \.epochs, "passes over the data, instead of --num-rollout"),
    .option("start-rollout-id", \.startRolloutID, "first rollout; default where --load ended"),
  ]
}

extension EvalConfiguration {
  static let flags: [Flag<Self>] = [
    .option("eval-interval", \.interval, "rollouts between evaluations; default never"),
    Flag(
      name: "eval-prompt-data", values: .many, placeholder: "NAME FILE…", help: "jsonl files to evaluate on, and their names",
      standard: { _ in nil },
      set: { (configuration, words) throws(ConfigurationError) in
        do {
          configuration.datasets = try EvaluationDataset.pairs(words).map { EvalDataset(name: $0.name, path: $0.path) }
        } catch { throw ConfigurationError("\(error)") }
      }),
    .toggle("skip-eval-before-train", \.skipBeforeTraining, "no evaluation before the first rollout"),
    .option("n-samples-per-eval-prompt", \.samplesPerPrompt, "responses to each prompt"),
    .option("eval-input-key", \.inputKey, "KEY", "default --input-key"),
    .option("eval-label-key", \.labelKey, "KEY", "default --label-key"),
    .option("eval-reward-key", \.rewardKey, "KEY", "default --reward-key"),
    .option("eval-tool-key", \.toolKey, "KEY", "default --tool-key"),
    .option("eval-temperature", \.temperature, "0 is greedy; default --rollout-temperature"),
    .option("eval-top-p", \.topP, "default --rollout-top-p"),
    .option("eval-top-k", \.topK, "default --rollout-top-k"),
    .option("eval-max-context-len", \.maxContextLength, "TOKENS", "default --rollout-max-context-len"),
    .option("eval-max-prompt-len", \.maxPromptLength, "TOKENS", "default --rollout-max-prompt-len"),
    .option("eval-max-response-len", \.maxResponseLength, "TOKENS", "default --rollout-max-response-len"),
    .option("eval-min-new-tokens", \.minNewTokens, "TOKENS", "no end of a response before; default 0"),
  ]
}
