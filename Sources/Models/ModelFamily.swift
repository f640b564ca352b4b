import Checkpoints
import JSON

/// What is special about a family of models: how its config.json becomes a configuration.
protocol ModelFamily: Sendable {
  /// The values of `model_type` that it answers to.
  static var modelTypes: [String] { get }
  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration
}

public enum ModelRegistry {
  private static let families: [any ModelFamily.Type] = [
    Llama.self, Qwen2.self, Qwen3.self, Qwen2Moe.self, Qwen3Moe.self, DeepseekV3.self, Glm4Moe.self,
  ]

  public static var modelTypes: [String] { families.flatMap { $0.modelTypes } }

  /// Reads a folder's config.json.
  /// - Parameter provider: that of `--custom-model-provider-path`; nil: the model is one of the families.
  /// - Throws: `ModelError` when the family is unknown, the configuration asks for what is not supported, or there is no such
  ///   provider.
  public static func configuration(of folder: HuggingFaceFolder, provider: String? = nil) throws -> ModelConfiguration {
    try configuration(folder.config, source: folder.configFile.path, provider: provider)
  }

  public static func configuration(
    _ json: JSONValue, source: String, provider: String? = nil
  ) throws -> ModelConfiguration {
    let config = ConfigReader(json, source: source)
    guard let provider else { return try configuration(config) }
    let named = try ModelProviders.named(provider)
    var configuration = try named.provider.configuration(config)
    configuration.provider = named
    return configuration
  }

  /// As the family reads it that `model_type` names.
  static func configuration(_ config: ConfigReader) throws -> ModelConfiguration {
    let modelType = try config.text("model_type")
    guard let family = families.first(where: { $0.modelTypes.contains(modelType) }) else {
      throw ModelError(
        "\(config.source) has model_type '\(modelType)', which is not supported; supported are "
          + "\(modelTypes.joined(separator: ", "))")
    }
    return try family.configuration(config, modelType: modelType)
  }
}
