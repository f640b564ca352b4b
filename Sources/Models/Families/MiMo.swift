/// MiMo-7B (Xiaomi, 2025): Qwen2 with a layer that predicts tokens further on; checkpoints of `MiMoForCausalLM`.
enum MiMo: ModelFamily {
  static let modelTypes = ["mimo"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try Qwen2.configuration(config, modelType: modelType)
    model.queryKeyValueBias = try config.flag("attention_bias", default: true)
    model.extraLayerCount = Int(try config.number("num_nextn_predict_layers", default: 0))
    // As XiaomiMiMo/vllm runs it; SGLang gives it the final norm's output.
    model.predictionForm.readsUnnormed = true
    model.predictionForm.hiddenIsFirst = true
    model.predictionForm.storedPrefix = predictionPrefix
    model.ignoredPrefixes = [predictionPrefix]
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    guard let layer = weight.layer, layer >= model.layerCount else { return [] }
    let module = predictionModules[weight.module] ?? weight.module
    return [StoredPart("\(predictionPrefix)\(layer - model.layerCount).\(module).\(weight.leaf)", shape)]
  }

  private static let predictionPrefix = "model.mtp_layers."
  private static let predictionModules = [
    "enorm": "token_layernorm", "hnorm": "hidden_layernorm", "eh_proj": "input_proj", "shared_head.norm": "final_layernorm",
  ]
}
