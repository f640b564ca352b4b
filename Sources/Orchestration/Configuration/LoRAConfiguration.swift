import Inference

/// The LoRA adapters that a server takes. Names are those of SGLang.
public struct LoRAConfiguration: Sendable, Equatable, Codable {
  /// Whether adapters can be loaded; `paths` says so too.
  public var isEnabled = false
  /// Those that are there from the beginning: `NAME=FOLDER`, or a folder that is its own name.
  public var paths: [String] = []
  /// nil: any.
  public var maxRank: Int?
  /// Adapters in one batch; nil: eight.
  public var maxPerBatch: Int?
  /// Layers that adapters may change; empty or `all`: every linear layer.
  public var targets: [String] = []

  public init() {}

  /// nil: the engine takes none.
  public var options: AdapterOptions? {
    guard isEnabled || !paths.isEmpty else { return nil }
    var options = AdapterOptions(maxRank: maxRank)
    if let maxPerBatch { options.maxPerBatch = maxPerBatch }
    if !targets.isEmpty, targets != ["all"] { options.targets = Set(targets) }
    return options
  }

  /// What `paths` says.
  public var adapters: [(name: String, path: String)] {
    paths.map { text in
      let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      return (parts[0], parts.last!)
    }
  }

  func validate() throws(ConfigurationError) {
    for (flag, isSet) in [
      ("max-lora-rank", maxRank != nil), ("max-loras-per-batch", maxPerBatch != nil), ("lora-target-modules", !targets.isEmpty),
    ] where isSet {
      try require(options != nil, "--\(flag) has no effect without --enable-lora; add it")
    }
    for (flag, value) in [("max-lora-rank", maxRank), ("max-loras-per-batch", maxPerBatch)] {
      try require(value ?? 1 >= 1, "--\(flag) must be at least 1, not \(value ?? 0)")
    }
    try require(
      targets == ["all"] || !targets.contains("all"), "--lora-target-modules all names every layer; leave the others out")
    var names: Set<String> = []
    for adapter in adapters {
      try require(
        names.insert(adapter.name).inserted, "--lora-paths has two adapters named \(adapter.name); give each another name")
    }
    for adapter in adapters {
      try requireFile(adapter.path + "/adapter_config.json", of: "--lora-paths \(adapter.name)=\(adapter.path)")
    }
  }
}
