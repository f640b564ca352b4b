import Orchestration

extension EngineConfiguration {
  /// SGLang's names; `train` has them with `sglang-` before.
  static func flags(prefix: String = "") -> [Flag<Self>] {
    [
      .option(
        prefix + "context-length", \.contextLength, "TOKENS",
        "prompt and response together; default config.json's; longrope and dynamic go by it"),
      .option(prefix + "mem-fraction-static", \.memFractionStatic, "share of the device's memory for weights and KV cache"),
      .option(prefix + "max-total-tokens", \.maxTotalTokens, "TOKENS", "size of the KV cache; default by memory"),
      .option(prefix + "max-running-requests", \.maxRunningRequests, "requests in a batch"),
      .option(prefix + "chunked-prefill-size", \.chunkedPrefillSize, "TOKENS", "most prompt tokens in a batch"),
      .option(prefix + "quantization", \.quantization, "how linear weights are kept; default as they are stored"),
      .option(prefix + "kv-cache-dtype", \.kvCacheType, "precision of the KV cache"),
      .option(prefix + "page-size", \.pageSize, "TOKENS", "in a page of the KV cache"),
      .option(prefix + "ep-size", \.expertParallelSize, "parts of an engine's ranks that the experts are divided over")
        .also(prefix + "expert-parallel-size", prefix + "ep"),
      .option(prefix + "schedule-policy", \.schedulePolicy, "which waiting request is next"),
      .option(prefix + "schedule-conservativeness", \.scheduleConservativeness, "above 1: room for longer responses is kept"),
      .option(prefix + "speculative-algorithm", \.speculation, "what drafts tokens for a step to verify"),
      .option(prefix + "speculative-draft-model-path", \.draftModel, "FOLDER",
        "draft model (STANDALONE) or head (EAGLE, EAGLE3); updates leave it as it is"),
      .option(prefix + "speculative-num-steps", \.speculativeSteps, "its steps; default as many as there are drafts"),
      .option(prefix + "speculative-eagle-topk", \.speculativeBranches, "likeliest tokens that a head tries after each draft; above 1: trees"),
      .option(prefix + "speculative-num-draft-tokens", \.draftTokens, "tokens of a response that a step verifies"),
      .toggle(prefix + "enable-deterministic-inference", \.isDeterministic, "equal bits whatever else is in the batch; slower"),
      .toggle(prefix + "enable-return-hidden-states", \.returnsHiddenStates, "let requests ask for return_hidden_states"),
      .toggle(prefix + "disable-radix-cache", \.disableRadixCache, "keep no prefixes of requests that have ended"),
      .toggle(prefix + "disable-cuda-graph", \.disableCUDAGraph, "queue every operator of a decoding step by itself on a GPU"),
      .option(prefix + "cuda-graph-max-bs", \.cudaGraphMaxBatch, "largest batch whose decoding step is recorded; default 256"),
      .toggle(
        prefix + "disable-overlap-schedule", \.disableOverlapSchedule,
        "plan a batch only when the one before is done; on a CPU it is always so"),
    ]
  }
}
