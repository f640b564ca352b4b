import Images

/// The shape of a vision tower (Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021) whose patches stand among a
/// model's tokens.
public struct VisionConfiguration: Sendable, Equatable {
  public var depth: Int
  public var hiddenSize: Int
  public var intermediateSize: Int
  public var headCount: Int
  /// Of the language model that takes its features.
  public var outputSize: Int
  public var patchSize: Int
  /// So many patches a side become one token.
  public var mergeSize: Int
  public var temporalPatchSize: Int
  public var channelCount: Int
  public var activation: Activation
  public var initializerRange: Double
  public var norm = NormKind.rms
  public var hasPatchBias = false
  /// down(activation(gate(x)) · up(x)); otherwise down(activation(up(x))).
  public var hasGatedFeedForward = true
  /// nil: patches see all of their picture in every layer.
  public var window: Window?
  /// Side of the square of learned positions, of which each picture's are interpolated; nil: there are none.
  public var positionGridSide: Int?
  /// After which of its layers features go to the first layers of the language model, in order (Meng et al., "DeepStack",
  /// 2024).
  public var deepstackLayers: [Int] = []
  /// The token that stands for a part of a picture in prompts.
  public var imageToken: Int
  /// What prepares pictures for it; nil: the model's folder does not say.
  public var processor: ImageProcessor?
  /// Of what merges patches, in the checkpoint.
  public var mergerNames = MergerNames(norm: "ln_q", up: "mlp.0", down: "mlp.2")

  /// Patches that see each other where not all of a picture do.
  public struct Window: Sendable, Equatable {
    /// Merged patches of a side.
    public var side: Int
    /// Layers in which all of a picture's patches see each other.
    public var fullLayers: Set<Int>
  }

  public struct MergerNames: Sendable, Equatable {
    public var norm: String
    public var up: String
    public var down: String
  }

  /// Numbers of one patch.
  public var patchCount: Int { channelCount * temporalPatchSize * patchSize * patchSize }
  public var mergedCount: Int { mergeSize * mergeSize }
  var headDimension: Int { hiddenSize / headCount }

  /// What the towers of Qwen's models have in common.
  /// - Parameters:
  ///   - config: the whole config.json, whose `vision_config` it reads.
  ///   - activation, imageToken: where it says nothing.
  init(_ config: ConfigReader, outputSize: Int, activation: String, imageToken: Int) throws {
    guard config.value("vision_config") != nil else {
      throw ModelError("\(config.source) has no 'vision_config', which describes the vision tower")
    }
    let vision = config.ofVisionTower
    depth = try vision.count("depth", default: vision.value("num_hidden_layers")?.int)
    hiddenSize = try vision.count("hidden_size")
    intermediateSize = try vision.count("intermediate_size")
    headCount = try vision.count("num_heads", default: vision.value("num_attention_heads")?.int)
    self.outputSize = try vision.count("out_hidden_size")
    patchSize = try vision.count("patch_size")
    mergeSize = try vision.count("spatial_merge_size", default: 2)
    temporalPatchSize = try vision.count("temporal_patch_size", default: 2)
    channelCount = try vision.count("in_channels", default: vision.value("in_chans")?.int ?? 3)
    self.activation = try Activation(named: "hidden_act", of: vision, default: activation)
    initializerRange = try vision.number("initializer_range", default: 0.02)
    self.imageToken = try config.count("image_token_id", default: imageToken)
    guard hiddenSize % (4 * headCount) == 0 else {
      throw ModelError("\(vision.source) has hidden_size \(hiddenSize), which num_heads \(headCount) times 4 does not divide")
    }
    guard self.outputSize == outputSize else {
      throw ModelError(
        "\(vision.source) has out_hidden_size \(self.outputSize), but the language model's hidden_size is \(outputSize)")
    }
    try vision.refuse("rope_parameters", unless: {
      ($0["rope_type"] ?? "axial") == "axial" && ($0["rope_theta"]?.double ?? 10_000) == 10_000
    }, "only axial rotary positions of base 10000 are supported")
  }
}

/// Rotary positions of three axes: a token's time, height and width (Wang et al., "Qwen2-VL", 2024).
public struct MultimodalRotary: Sendable, Equatable {
  /// Frequencies that each axis turns.
  public var sections: [Int]
  /// The axes take turns, as long as height's and width's last; otherwise they stand one after another.
  public var isInterleaved: Bool

  /// Reads `mrope_section` of a config.json's rotary parameters.
  /// - Parameter rotatedDimension: of each head; twice the sum of sections.
  init(_ config: ConfigReader, default sections: [Int], isInterleaved: Bool, rotatedDimension: Int) throws {
    let parameters = config.value("rope_parameters") ?? config.value("rope_scaling") ?? [:]
    let rope = ConfigReader(parameters, source: "the rotary parameters of \(config.source)")
    let given = try rope.counts("mrope_section")
    (self.sections, self.isInterleaved) = (given.isEmpty ? sections : given, isInterleaved)
    guard self.sections.count == 3, self.sections.reduce(0, +) == rotatedDimension / 2 else {
      throw ModelError(
        "\(rope.source) have mrope_section = \(self.sections), but three numbers are needed that add up to \(rotatedDimension / 2)")
    }
    try rope.refuse("mrope_interleaved", unless: { $0.bool == isInterleaved }, "this family has it the other way")
  }

  /// The axis by which each frequency turns.
  var axes: [Int] {
    let count = sections.reduce(0, +)
    guard isInterleaved else { return sections.enumerated().flatMap { repeatElement($0, count: $1) } }
    return (0..<count).map { $0 < 3 * sections[$0 % 3] ? $0 % 3 : 0 }
  }
}
