import Checkpoints
import Foundation
import JSON
import Torch

/// Writing of a model as a Hugging Face folder, with plain weights or with linear weights in e4m3.
enum ModelFolderWriter {
  /// Writes a folder whose tensors are made one after another, when their turn comes.
  /// - Parameters:
  ///   - configuration: of the model.
  ///   - folder: has the config.json, tokenizer and generation_config.json, and what the model leaves aside of its weights.
  ///   - quantized: whether linear weights become e4m3 in blocks of 128 × 128 (`quantization_config` of `transformers`'
  ///     FineGrainedFP8Config). Matrices that are not whole blocks stay as they are.
  ///   - dtype: of each plain tensor.
  ///   - tensor: gives the whole tensor.
  static func write(
    _ configuration: ModelConfiguration, to destination: URL, like folder: HuggingFaceFolder, quantized: Bool,
    dtype: (ParameterPiece) throws -> DType, tensor: (ParameterPiece) throws -> Tensor
  ) throws {
    let model = try configuration.model(parallel: .single(), dtype: configuration.dtype ?? .float32)
    let blocks = quantized ? try Blocks(model) : nil
    let scaling = Float8Scaling.publishedBlock
    let layout = StoredLayout(model) { blocks?.place($1, of: $0) ?? configuration.storedPart($1) }
    var announced: [TensorSpecification] = []
    var names = Set<String>()
    for parameter in model.table.parameters {
      for piece in parameter.pieces {
        let stored = layout.part(piece)
        guard names.insert(stored.name).inserted else { continue }
        guard blocks?.names.contains(stored.name) == true else {
          announced.append(
            TensorSpecification(name: stored.name, dtype: SafetensorsDType(try dtype(piece)), shape: stored.shape))
          continue
        }
        announced.append(TensorSpecification(name: stored.name, dtype: .float8E4M3, shape: stored.shape))
        announced.append(
          TensorSpecification(
            name: stored.name + scaling.scaleSuffix, dtype: .float32,
            shape: scaling.storedShape(rows: stored.shape[0], columns: stored.shape[1])))
      }
    }
    let carried = try CarriedTensors(folder, configuration, saved: announced)
    let writer = try HuggingFaceWriter(
      to: destination, config: folder.config.setting("quantization_config", to: blocks?.config(besides: carried)),
      tensors: announced + carried.specifications, copyingFrom: folder)
    var assembly = layout.assembly()
    for parameter in model.table.parameters {
      for piece in parameter.pieces {
        let weight = try tensor(piece)
        guard let whole = try catchingTorchErrors({ assembly.add(piece.checkpointName, weight) }) else { continue }
        guard blocks?.names.contains(whole.name) == true else {
          try carried.write(whole.name, whole.tensor, to: writer)
          continue
        }
        let matrix = try catchingTorchErrors { withoutGradients { Float8Matrix(quantizing: whole.tensor, scaling) } }
        try writer.write(whole.name, matrix.values)
        try writer.write(whole.name + scaling.scaleSuffix, matrix.storedScales(scaling))
      }
    }
    try carried.writeRest(to: writer)
    try writer.finish()
  }

  /// Which tensors become blocks: matrices of linear layers, by themselves or with others above and below, of whole blocks.
  private struct Blocks {
    private let linear: Set<String>
    private let configuration: ModelConfiguration
    let names: Set<String>
    /// Linear layers that stay as they are.
    private let excluded: [String]

    /// - Parameter model: whole, without any.
    init(_ model: CausalLM) throws {
      configuration = model.configuration
      var all = configuration
      all.quantization = Float8Scheme(.publishedBlock)
      let parameters = try all.model(parallel: .single(), dtype: .float32).table.parameters
      linear = Set(parameters.filter { $0.quantization != nil }.map(\.name))
      var (names, excluded) = (Set<String>(), [String]())
      for parameter in parameters where parameter.shape.count == 2 {
        for piece in parameter.pieces where piece.module != "lm_head" && !piece.module.hasSuffix("embed_tokens") {
          let stored = Self.place(piece, isLinear: parameter.quantization != nil, configuration)
          let isLinear = parameter.quantization != nil && stored.shape.count == 2
            && Float8Place(stored)?.knows(.row) == true
          if isLinear, stored.shape.allSatisfy({ $0 % 128 == 0 }) {
            names.insert(stored.name)
          } else {
            excluded += configuration.storedParts(piece.checkpointName, piece.shape).map { part in
              ParameterPiece(part.name, shape: part.shape).module
            }
          }
        }
      }
      (self.names, self.excluded) = (names, excluded)
    }

    func place(_ piece: ParameterPiece, of parameter: Parameter) -> StoredPart {
      Self.place(piece, isLinear: linear.contains(parameter.name), configuration)
    }

    /// Experts are kept each by itself where the family knows that.
    private static func place(_ piece: ParameterPiece, isLinear: Bool, _ configuration: ModelConfiguration) -> StoredPart {
      isLinear ? configuration.storedAlone(piece) ?? configuration.storedPart(piece) : configuration.storedPart(piece)
    }

    /// What config.json says of it. `transformers` looks for scales in every linear layer that is not named here.
    func config(besides carried: CarriedTensors) -> JSONValue {
      let aside = carried.specifications.filter { $0.shape.count > 1 }.map { ParameterPiece($0.name, shape: $0.shape).module }
      var seen = Set<String>()
      let modules = (["lm_head"] + excluded + aside).filter { seen.insert($0).inserted }
      return [
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128],
        "modules_to_not_convert": .array(modules.map(JSONValue.string)),
      ]
    }
  }
}

extension JSONValue {
  /// An object with another value of a key, or without it.
  package func setting(_ key: String, to value: JSONValue?) -> JSONValue {
    guard case .object(var object) = self else { return self }
    object[key] = value
    return .object(object)
  }
}
