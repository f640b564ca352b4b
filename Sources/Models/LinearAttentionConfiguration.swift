/// The layers whose tokens see those before them through a state of one size, however many they are (gated delta rule;
/// Yang et al., "Gated Delta Networks", 2024), in the place of attention.
public struct LinearAttentionConfiguration: Sendable, Equatable {
  /// Heads of queries and keys; each serves `valueHeadCount / keyHeadCount` heads of values.
  public var keyHeadCount: Int
  public var valueHeadCount: Int
  /// Of queries and keys.
  public var keyDimension: Int
  public var valueDimension: Int
  /// Tokens that the convolution before it sees, its own the last of them.
  public var taps: Int
  /// Which layers they are.
  public var layers: Set<Int>

  /// Reads the `linear_…` keys and `layer_types`.
  /// - Parameter interval: where config.json has no `layer_types`, every so many layers the last has plain attention.
  init(_ config: ConfigReader, layerCount: Int, interval: Int) throws {
    keyHeadCount = try config.count("linear_num_key_heads", default: 16)
    valueHeadCount = try config.count("linear_num_value_heads", default: 32)
    keyDimension = try config.count("linear_key_head_dim", default: 128)
    valueDimension = try config.count("linear_value_head_dim", default: 128)
    taps = try config.count("linear_conv_kernel_dim", default: 4)
    guard valueHeadCount % keyHeadCount == 0 else {
      throw ModelError(
        "\(config.source) has linear_num_value_heads \(valueHeadCount), not a multiple of linear_num_key_heads \(keyHeadCount)")
    }
    let types = config.value("layer_types")?.array
    if let types, types.count != layerCount {
      throw ModelError("\(config.source) has layer_types of \(types.count) layers, but num_hidden_layers is \(layerCount)")
    }
    layers = []
    for layer in 0..<layerCount {
      switch types?[layer].string ?? ((layer + 1) % interval == 0 ? "full_attention" : "linear_attention") {
      case "linear_attention": layers.insert(layer)
      case "full_attention": break
      case let other:
        throw ModelError("\(config.source) has a layer of type '\(other)' in layer_types; known are full_attention and linear_attention")
      }
    }
    guard layers.count < layerCount else {
      throw ModelError("\(config.source) has no layer of type full_attention, which this family needs at least one of")
    }
  }

  /// Width of what the convolution sees: all heads of queries, keys and values.
  public var channelCount: Int { 2 * keyHeadCount * keyDimension + valueHeadCount * valueDimension }
}
