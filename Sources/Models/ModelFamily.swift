import Checkpoints
import JSON
import Torch

/// What is special about a family of models: how its config.json becomes a configuration.
protocol ModelFamily: Sendable {
  /// The values of `model_type` that it answers to.
  static var modelTypes: [String] { get }
  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration
  /// Where checkpoints keep a weight that they do not keep by itself under the name that it has here; the first one is how
  /// it is saved, others may be found. Empty: as it is here.
  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart]
}

extension ModelFamily {
  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] { [] }
}

extension ModelConfiguration {
  /// Under which name a weight is saved that is a tensor of its own.
  package func storedName(_ name: String) -> String { storedParts(name, [])[0].name }

  /// How a weight is saved.
  package func storedPart(_ piece: ParameterPiece) -> StoredPart { storedParts(piece.checkpointName, piece.shape)[0] }

  /// Where checkpoints may keep a weight; the first one is how it is saved.
  /// - Parameters:
  ///   - name: as a declared piece has it.
  ///   - shape: of the piece, whole.
  func storedParts(_ name: String, _ shape: [Int]) -> [StoredPart] {
    let parts = ModelRegistry.family(of: modelType)?.stored(WeightName(name), shape, self) ?? []
    return parts.isEmpty ? [StoredPart(name, shape)] : parts
  }
}

public enum ModelRegistry {
  private static let families: [any ModelFamily.Type] = [
    Llama.self, Mistral.self, Mixtral.self, Phi3.self, Qwen2.self, Qwen3.self, Qwen2Moe.self, Qwen3Moe.self, MiMo.self,
    Glm.self, Glm4.self, Glm4Moe.self, Gemma2.self, Gemma3.self, DeepseekV2.self, DeepseekV3.self, MiniMaxM2.self,
    GptOss.self, Gpt2.self, GptNeoX.self, Qwen3Next.self, Qwen35.self, Qwen35Moe.self, Qwen2_5VL.self, Qwen3VL.self,
  ]

  static func family(of modelType: String) -> (any ModelFamily.Type)? {
    families.first { $0.modelTypes.contains(modelType) }
  }

  public static var modelTypes: [String] { families.flatMap { $0.modelTypes } }

  /// Reads a folder's config.json.
  /// - Parameter provider: that of `--custom-model-provider-path`; nil: the model is one of the families.
  /// - Throws: `ModelError` when the family is unknown, the configuration asks for what is not supported, or there is no such
  ///   provider.
  public static func configuration(of folder: HuggingFaceFolder, provider: String? = nil) throws -> ModelConfiguration {
    var configuration = try configuration(folder.config, source: folder.configFile.path, provider: provider)
    try configuration.vision?.readProcessor(folder.url)
    return configuration
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
    guard let family = family(of: modelType) else {
      let nearest = modelTypes.map { ($0, $0.distance(to: modelType)) }.sorted { $0.1 < $1.1 }.prefix(3).map(\.0)
      throw ModelError(
        "\(config.source) has model_type '\(modelType)', which is not supported; nearest are \(nearest.joined(separator: ", ")), "
          + "and all that are supported \(modelTypes.joined(separator: ", "))")
    }
    return try family.configuration(config, modelType: modelType)
  }
}

extension String {
  /// Letters to insert, remove or change on the way to another text (Levenshtein, 1966).
  fileprivate func distance(to other: String) -> Int {
    let target = Array(other)
    var row = Array(0...target.count)
    for (i, letter) in enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, wanted) in target.enumerated() {
        (diagonal, row[j + 1]) = (row[j + 1], Swift.min(row[j] + 1, row[j + 1] + 1, diagonal + (letter == wanted ? 0 : 1)))
      }
    }
    return row[target.count]
  }
}
