import Checkpoints
import Foundation
import JSON
import Torch

/// Writing of a model as a Hugging Face folder, with plain weights or with linear weights in e4m3.
public enum ModelFolderWriter {
  /// Writes a folder whose tensors are made one after another, when their turn comes.
  /// - Parameters:
  ///   - folder: has the config.json, tokenizer and generation_config.json.
  ///   - quantized: whether linear weights become e4m3 in blocks of 128 × 128 (`quantization_config` of `transformers`'
  ///     FineGrainedFP8Config). Matrices that are not whole blocks stay as they are.
  ///   - dtype: of each plain tensor.
  ///   - tensor: gives the whole tensor.
  public static func write(
    to destination: URL, like folder: HuggingFaceFolder, quantized: Bool, dtype: (ParameterPiece) throws -> DType,
    tensor: (ParameterPiece) throws -> Tensor
  ) throws {
    var configuration = try ModelRegistry.configuration(of: folder)
    let layout = quantized ? try BlockLayout(configuration) : nil
    configuration.quantization = layout?.scheme
    let model = try configuration.model(parallel: .single(), dtype: configuration.dtype ?? .float32)
    var announced: [TensorSpecification] = []
    for parameter in model.table.parameters {
      for piece in parameter.pieces {
        guard let scaling = parameter.quantization else {
          announced.append(
            TensorSpecification(name: piece.checkpointName, dtype: SafetensorsDType(try dtype(piece)), shape: piece.shape))
          continue
        }
        announced.append(TensorSpecification(name: piece.checkpointName, dtype: .float8E4M3, shape: piece.shape))
        announced.append(
          TensorSpecification(
            name: piece.checkpointName + scaling.scaleSuffix, dtype: .float32,
            shape: scaling.storedShape(rows: piece.shape[0], columns: piece.shape[1])))
      }
    }
    let writer = try HuggingFaceWriter(
      to: destination, config: folder.config.setting("quantization_config", to: layout?.config), tensors: announced,
      copyingFrom: folder)
    for parameter in model.table.parameters {
      for piece in parameter.pieces {
        let whole = try tensor(piece)
        guard let scaling = parameter.quantization else {
          try writer.write(piece.checkpointName, whole)
          continue
        }
        let matrix = try catchingTorchErrors { withoutGradients { Float8Matrix(quantizing: whole, scaling) } }
        try writer.write(piece.checkpointName, matrix.values)
        try writer.write(piece.checkpointName + scaling.scaleSuffix, matrix.storedScales(scaling))
      }
    }
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
      var excluded = ["lm_head"]
      for parameter in model.table.parameters {
        let areBlocks = parameter.pieces.allSatisfy { $0.shape.allSatisfy { $0 % 128 == 0 } }
        guard parameter.shape.count == 2, parameter.quantization == nil || !areBlocks else { continue }
        excluded += parameter.pieces.map(\.module).filter { $0 != "lm_head" && !$0.hasSuffix("embed_tokens") }
      }
      scheme = Float8Scheme(.publishedBlock, excludedModules: excluded)
      config = [
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128],
        "modules_to_not_convert": .array(excluded.map(JSONValue.string)),
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
