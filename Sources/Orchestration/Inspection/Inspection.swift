import Checkpoints
import Foundation
import Models
import Tokenization

/// What the loader understands of a Hugging Face folder: `slime inspect`. Nothing is read of weights but their headers, and
/// models are built without memory.
public struct Inspection: Sendable, Encodable {
  public var folder: String
  public var architecture: Architecture
  /// Numbers in weights, by what they are for; those a token passes of each.
  public var parameters: [Parameters]
  public var parameterCount: Int
  public var activeParameterCount: Int
  /// nil: the folder has none.
  public var weights: StoredWeights?
  /// nil: there is no tokenizer.json.
  public var tokenizer: InspectedTokenizer?
  public var training: TrainingMemory
  public var serving: ServingMemory
  public var layouts: WorkingLayouts

  /// - Throws: what is wrong with a file or with what config.json asks for.
  public init(_ configuration: InspectConfiguration) throws {
    let folder = try HuggingFaceFolder(URL(fileURLWithPath: configuration.folder))
    let model = try ModelRegistry.configuration(of: folder, provider: configuration.modelProvider)
    let whole = try model.model(parallel: .imagined(.init(worldSize: 1), rank: 0), dtype: model.dtype ?? .bfloat16)
    self.folder = configuration.folder
    architecture = Architecture(model, folder)
    parameters = Parameters.counts(whole)
    parameterCount = parameters.reduce(0) { $0 + $1.total }
    activeParameterCount = parameters.reduce(0) { $0 + $1.active }
    weights = try StoredWeights(folder, whole)
    tokenizer = try InspectedTokenizer(folder, model)
    training = try TrainingMemory(configuration, model)
    serving = try ServingMemory(model)
    layouts = try WorkingLayouts(model)
  }

  public static func run(_ configuration: InspectConfiguration) throws {
    let inspection = try Inspection(configuration)
    guard configuration.json else { return print(inspection.report) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    print(String(decoding: try encoder.encode(inspection), as: UTF8.self))
  }
}

extension Inspection {
  public struct Parameters: Sendable, Encodable {
    public var kind: String
    public var total: Int
    public var active: Int

    /// Of a whole model, the kinds that it has.
    static func counts(_ model: CausalLM) -> [Parameters] {
      let byKind = Dictionary(grouping: model.table.parameters, by: \.kind).mapValues { $0.reduce(0) { $0 + $1.count } }
      return ParameterKind.allCases.compactMap { kind in
        guard let total = byKind[kind] else { return nil }
        let mixture = kind == .experts ? model.configuration.mixture : nil
        return Parameters(
          kind: kind.rawValue, total: total, active: mixture.map { total / $0.expertCount * $0.expertsPerToken } ?? total)
      }
    }
  }
}
