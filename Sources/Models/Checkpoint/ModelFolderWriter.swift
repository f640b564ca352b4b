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
    var configuration = configuration
    let layout = quantized ? try BlockLayout(configuration) : nil
    configuration.quantization = layout?.scheme
    let model = try configuration.model(parallel: .single(), dtype: configuration.dtype ?? .float32)
    var announced: [TensorSpecification] = []
    var names = Set<String>()
    for parameter in model.table.parameters {
      for piece in parameter.pieces {
        let stored = configuration.storedPart(piece)
        guard names.insert(stored.name).inserted else { continue }
        guard let scaling = parameter.quantization else {
          announced.append(
            TensorSpecification(name: stored.name, dtype: SafetensorsDType(try dtype(piece)), shape: stored.shape))
          continue
        }
        announced.append(TensorSpecification(name: stored.name, dtype: .float8E4M3, shape: piece.shape))
        announced.append(
          TensorSpecification(
            name: stored.name + scaling.scaleSuffix, dtype: .float32,
            shape: scaling.storedShape(rows: piece.shape[0], columns: piece.shape[1])))
      }
    }
    let carried = try CarriedTensors(folder, configuration, saved: announced)
    let writer = try HuggingFaceWriter(
      to: destination, config: folder.config.setting("quantization_config", to: layout?.config),
      tensors: announced + carried.specifications, copyingFrom: folder)
    var assembly = StoredLayout(model).assembly()
    for parameter in model.table.parameters {
      for piece in parameter.pieces {
        let weight = try tensor(piece)
        guard let scaling = parameter.quantization else {
          let whole = try catchingTorchErrors { assembly.add(piece.checkpointName, weight) }
          if let whole { try carried.write(whole.name, whole.tensor, to: writer) }
          continue
        }
        let name = configuration.storedPart(piece).name
        let matrix = try catchingTorchErrors { withoutGradients { Float8Matrix(quantizing: weight, scaling) } }
        try writer.write(name, matrix.values)
        try writer.write(name + scaling.scaleSuffix, matrix.storedScales(scaling))
      }
    }
    try carried.writeRest(to: writer)
    try writer.finish()
  }

  /// Which weights become blocks.
  private struct BlockLayout {
    let scheme: Float8Scheme
    /// What config.json says of it.
    let config: JSONValue

    init(_ configuration: ModelConfiguration) throws {
      var all = configuration
      all.quantization = Float8Scheme(.publishedBlock)
      let model = try all.model(parallel: .single(), dtype: .float32)
      // `transformers` looks for scales in every linear layer that is not named here.
      var (excluded, stored) = ([String](), ["lm_head"])
      for parameter in model.table.parameters {
        let areBlocks = parameter.pieces.allSatisfy { $0.shape.allSatisfy { $0 % 128 == 0 } }
        guard parameter.shape.count == 2, parameter.quantization == nil || !areBlocks else { continue }
        for piece in parameter.pieces where piece.module != "lm_head" && !piece.module.hasSuffix("embed_tokens") {
          excluded.append(piece.module)
          stored.append(ParameterPiece(configuration.storedPart(piece).name, shape: piece.shape).module)
        }
      }
      scheme = Float8Scheme(.publishedBlock, excludedModules: excluded)
      config = [
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128],
        "modules_to_not_convert": .array(stored.map(JSONValue.string)),
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
