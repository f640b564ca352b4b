/// The dimensions of multi-head latent attention.
public struct LatentAttentionConfiguration: Sendable, Equatable {
  /// Of the small vector that queries come from; nil: they come from the hidden state.
  public var queryRank: Int?
  /// Of the small vector that keys and values come from.
  public var keyValueRank: Int
  /// Dimensions of each query and key head that do not know the position, and those that do.
  public var plainDimension: Int
  public var rotatedDimension: Int
  public var valueDimension: Int
  /// Whether the pairs that are rotated together stand side by side in the checkpoint's weights.
  public var isInterleaved: Bool

  /// Of each query and key head.
  public var queryDimension: Int { plainDimension + rotatedDimension }

  init(_ config: ConfigReader) throws {
    queryRank = config.value("q_lora_rank") == nil ? nil : try config.count("q_lora_rank")
    keyValueRank = try config.count("kv_lora_rank")
    plainDimension = try config.count("qk_nope_head_dim")
    rotatedDimension = try config.count("qk_rope_head_dim")
    valueDimension = try config.count("v_head_dim")
    isInterleaved = try config.flag("rope_interleave", default: true)
    guard rotatedDimension % 2 == 0 else {
      throw ModelError("\(config.source) has qk_rope_head_dim \(rotatedDimension); rotary embedding needs an even one")
    }
  }
}
