/// Which LoRA adapters an engine takes. Names of the flags are SGLang's.
public struct AdapterOptions: Sendable, Equatable {
  /// Largest rank of an adapter (`--max-lora-rank`); nil: any.
  public var maxRank: Int?
  /// Adapters that the requests of one batch may use; those of others wait (`--max-loras-per-batch`).
  public var maxPerBatch: Int
  /// The linear layers that an adapter may change, by the last part of their names (`--lora-target-modules`); nil: all.
  public var targets: Set<String>?

  public init(maxRank: Int? = nil, maxPerBatch: Int = 8, targets: Set<String>? = nil) {
    (self.maxRank, self.maxPerBatch, self.targets) = (maxRank, maxPerBatch, targets)
  }

  func validate() throws(EngineError) {
    guard maxPerBatch >= 1 else { throw EngineError("--max-loras-per-batch must be at least 1, got \(maxPerBatch).") }
    if let maxRank, maxRank < 1 { throw EngineError("--max-lora-rank must be at least 1, got \(maxRank).") }
  }
}

/// An adapter that requests may name.
public struct AdapterDescription: Sendable, Equatable, Codable {
  public let name: String
  /// The folder it was read from; nil: its tensors were sent.
  public let path: String?

  public init(name: String, path: String?) { (self.name, self.path) = (name, path) }
}
