/// Qwen2.5-VL (Qwen Team, 2025): Qwen2 with positions of three axes and a vision tower most of whose layers look through
/// windows; checkpoints of `Qwen2_5_VLForConditionalGeneration`.
enum Qwen2_5VL: ModelFamily {
  static let modelTypes = ["qwen2_5_vl"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var text = config.ofLanguageModel
    if config.value("tie_word_embeddings") == true { text = text.setting("tie_word_embeddings", true) }
    var model = try Qwen2.configuration(text.withPlainRotary(base: 1_000_000), modelType: modelType)
    model.multimodalRotary = try MultimodalRotary(
      text, default: [16, 24, 24], isInterleaved: false, rotatedDimension: model.headDimension)
    var vision = try VisionConfiguration(config, outputSize: model.hiddenSize, activation: "silu", imageToken: 151_655)
    let own = config.ofVisionTower
    let side = try own.count("window_size", default: 112) / vision.mergeSize / vision.patchSize
    guard side > 0 else { throw ModelError("\(own.source) has a window_size of less than one merged patch") }
    let full = own.value("fullatt_block_indexes") == nil ? [7, 15, 23, 31] : try own.counts("fullatt_block_indexes")
    vision.window = .init(side: side, fullLayers: Set(full))
    model.vision = vision
    return model
  }

  /// Published without the word `language_model`; transformers 5 may have it.
  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    [weight.full, weight.inMultimodalModel].map { StoredPart($0, shape) }
  }
}

extension ConfigReader {
  /// What a multimodal model's config.json says of its language model: in a part of its own, or among the rest.
  var ofLanguageModel: ConfigReader {
    guard case .object(var object) = json, let text = value("text_config"), case .object(let own) = text else { return self }
    object["tie_word_embeddings"] = nil
    for (key, value) in own.pairs { object[key] = value }
    return ConfigReader(.object(object), source: source)
  }

  /// What it says of its vision tower.
  var ofVisionTower: ConfigReader { ConfigReader(value("vision_config") ?? [:], source: "the vision_config of \(source)") }

  /// The same with rotary parameters that say nothing of axes.
  func withPlainRotary(base: Double) -> ConfigReader {
    let key = value("rope_parameters") == nil ? "rope_scaling" : "rope_parameters"
    var plain = self
    if case .object(var rope)? = value(key) {
      for name in ["mrope_section", "mrope_interleaved"] { rope[name] = nil }
      for name in ["type", "rope_type"] where rope[name] == "mrope" { rope[name] = "default" }
      plain = plain.setting(key, .object(rope))
    }
    return value("rope_theta") == nil && value(key)?["rope_theta"] == nil ? plain.setting("rope_theta", .double(base)) : plain
  }
}

extension WeightName {
  /// As multimodal models of transformers 5 call it: `model.language_model.layers.…`, `model.visual.…`.
  var inMultimodalModel: String {
    if full.hasPrefix("visual.") { return "model." + full }
    guard full.hasPrefix("model.") else { return full }
    return "model.language_model." + full.dropFirst("model.".count)
  }
}

extension StoredPart {
  /// The same in a checkpoint of a multimodal model.
  var inMultimodalModel: StoredPart { StoredPart(WeightName(name).inMultimodalModel, shape, steps) }
}
