/// Qwen3-VL, dense and with mixtures of experts (Qwen Team, 2025): Qwen3 with interleaved positions of three axes, and a
/// vision tower that feeds the first layers too; checkpoints of `Qwen3VLForConditionalGeneration` and
/// `Qwen3VLMoeForConditionalGeneration`.
enum Qwen3VL: ModelFamily {
  static let modelTypes = ["qwen3_vl", "qwen3_vl_moe"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    let given = config.ofLanguageModel
    var text = given.withPlainRotary(base: 500_000)
    text = text.setting("tie_word_embeddings", config.value("tie_word_embeddings") ?? false)
    var model: ModelConfiguration
    if modelType == "qwen3_vl_moe" {
      // Its router always divides by the sum of those chosen.
      model = try Qwen3Moe.configuration(text.setting("norm_topk_prob", true), modelType: modelType)
      model.headDimension = try text.count("head_dim", default: 128)
    } else {
      model = try Qwen3.configuration(text, modelType: modelType)
    }
    model.multimodalRotary = try MultimodalRotary(
      given, default: [24, 20, 20], isInterleaved: true, rotatedDimension: model.headDimension)
    var vision = try tower(config, outputSize: model.hiddenSize)
    let own = config.ofVisionTower
    vision.deepstackLayers = own.value("deepstack_visual_indexes") == nil
      ? [8, 16, 24] : try own.counts("deepstack_visual_indexes")
    guard vision.deepstackLayers.allSatisfy({ $0 < vision.depth }), vision.deepstackLayers.count <= model.layerCount,
      Set(vision.deepstackLayers).count == vision.deepstackLayers.count
    else {
      throw ModelError(
        "\(own.source) has deepstack_visual_indexes = \(vision.deepstackLayers), which are not layers of a tower of "
          + "\(vision.depth), each once, for a language model of \(model.layerCount)")
    }
    model.vision = vision
    return model
  }

  /// The vision tower, as far as Qwen3.5 has it too.
  /// - Parameter imageToken: where config.json has none.
  static func tower(_ config: ConfigReader, outputSize: Int, imageToken: Int = 151_655) throws -> VisionConfiguration {
    var vision = try VisionConfiguration(
      config, outputSize: outputSize, activation: "gelu_pytorch_tanh", imageToken: imageToken)
    (vision.norm, vision.hasPatchBias, vision.hasGatedFeedForward) = (.layer, true, false)
    vision.mergerNames = .init(norm: "norm", up: "linear_fc1", down: "linear_fc2")
    let own = config.ofVisionTower
    let positions = try own.count("num_position_embeddings", default: 2304)
    let side = Int(Double(positions).squareRoot())
    guard side * side == positions else {
      throw ModelError("\(own.source) has num_position_embeddings = \(positions), which is no square")
    }
    vision.positionGridSide = side
    return vision
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    guard let stacked = weight.stackedExperts(shape, model)?.inMultimodalModel else {
      return [StoredPart(weight.inMultimodalModel, shape), StoredPart(weight.full, shape)]
    }
    // Published with inputs before outputs; transformers 5 can save the experts as it computes with them, others each by itself.
    let (sizes, steps) = (stacked.shape, stacked.steps)
    return [
      StoredPart(stacked.name, [sizes[0], sizes[2], sizes[1]], [steps[0], .transpose, steps[1]]), stacked,
      StoredPart(weight.inMultimodalModel, shape),
    ]
  }
}
