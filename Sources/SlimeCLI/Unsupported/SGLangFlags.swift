extension UnsupportedGroup {
  /// Flags of SGLang's server, under SGLang's own names.
  static let sglang: [UnsupportedGroup] = [
    sglang("an engine's ranks are threads of one process, and several engines several processes: leave it out", [
      .accept("pp-size", "1"),
      .accept("pipeline-parallel-size", "1"), .accept("nnodes", "1"), .accept("node-rank", "0"), .accept("base-gpu-id", "0"),
      .accept("gpu-id-step", "1"), "dist-init-addr", "nccl-port", "enable-dp-attention", "enable-dp-lm-head",
      "moe-a2a-backend", "deepep-mode", "enable-ep-moe", "enable-eplb",
    ]),
    sglang("weights are those of config.json and *.safetensors, in --dtype; leave it out", [
      .accept("load-format", "auto", "safetensors"),
      "quantization-param-path", .accept(switch: "trust-remote-code"), "json-model-override-args", "revision",
      "model-loader-extra-config", "is-embedding", "enable-multimodal",
    ]),
    sglang("there is one scheduling policy and one implementation of each operation; leave it out", [
      "max-prefill-tokens",
      "attention-backend", "sampling-backend", "grammar-backend",
      "cuda-graph-bs", "enable-torch-compile", "torch-compile-max-bs",
      "enable-mixed-chunk", "enable-memory-saver", "num-continuous-decode-steps",
      "triton-attention-reduce-in-fp32", "enable-hierarchical-cache", "hicache-ratio", "stream-interval",
    ]),
    sglang("drafts are over the whole vocabulary; leave it out", ["speculative-token-map"]),
    sglang("prefill and decode share an engine; leave it out", [
      .accept("disaggregation-mode", "null"), "disaggregation-transfer-backend", "disaggregation-ib-device",
      "disaggregation-bootstrap-port",
    ]),
    sglang("the tokenizer's own chat template is used; leave it out", [
      "chat-template", "completion-template", .accept("tokenizer-mode", "auto"),
      "skip-tokenizer-init",
    ]),
    sglang("there is nothing to set here; leave it out", [
      .accept(switch: "skip-server-warmup"), "warmups", "watchdog-timeout", "dist-timeout", "enable-metrics",
      "enable-request-time-stats-logging", "log-requests", "log-requests-level", "show-time-cost", "decode-log-interval",
      "log-level-http", "crash-dump-folder", "download-dir", "file-storage-path", "config", "ssl-keyfile", "ssl-certfile",
    ]),
  ]

  /// In `train`, SGLang's flags have a prefix, and slime has some of its own beside them.
  static let router = UnsupportedGroup("SGLang's router", "there is no router: engines are reached directly; leave it out", [
    "sglang-router-ip", "sglang-router-port", "sglang-router-request-timeout-secs", "sglang-router-policy",
    .accept("prefill-num-servers", "0"),
  ])
  /// Of a server alone.
  static let adapters = sglang("all weights are trained, and sent to the engines whole; leave it out", [
    "enable-lora", "lora-paths", "max-lora-rank", "max-loras-per-batch", "lora-target-modules",
  ])
  static let loadedAdapters = sglang("adapters are kept in host memory, as many as are loaded; leave it out", [
    "max-loaded-loras", "lora-backend", "lora-eviction-policy",
  ])
  static let sglangOther = UnsupportedGroup("SGLang", "the engine decides that by itself; leave it out", [])

  private static func sglang(_ remedy: String, _ flags: [UnsupportedFlag]) -> UnsupportedGroup {
    UnsupportedGroup("SGLang", by: "this engine", remedy, flags)
  }

  /// With another beginning of every name.
  fileprivate func prefixed(_ prefix: String) -> Self {
    var group = self
    for index in flags.indices { group.flags[index].name = prefix + flags[index].name }
    return group
  }
}

extension UnsupportedFlags {
  package static let train = UnsupportedFlags(
    groups: UnsupportedGroup.slime + UnsupportedGroup.fsdp + UnsupportedGroup.megatron
      + (UnsupportedGroup.sglang + [.adapters]).map { $0.prefixed("sglang-") } + [UnsupportedGroup.router, UnsupportedGroup.sglangOther],
    prefixes: [("sglang-router-", .router), ("router-", .router), ("sglang-", .sglangOther)])

  package static let serve = UnsupportedFlags(
    groups: UnsupportedGroup.sglang + [.loadedAdapters])
}
