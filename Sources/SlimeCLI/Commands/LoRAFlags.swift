import Orchestration

extension LoRAConfiguration {
  /// SGLang's names.
  static let flags: [Flag<Self>] = [
    .toggle("enable-lora", \.isEnabled, "adapters can be loaded: POST /load_lora_adapter"),
    .list("lora-paths", \.paths, "NAME=FOLDER", "adapters to begin with, as PEFT saves them"),
    .option("max-lora-rank", \.maxRank, "largest rank of an adapter; default any"),
    .option("max-loras-per-batch", \.maxPerBatch, "adapters that requests of one batch may use; default 8"),
    .list("lora-target-modules", \.targets, "NAME", "layers that adapters may change, such as q_proj; default all"),
  ]
}
