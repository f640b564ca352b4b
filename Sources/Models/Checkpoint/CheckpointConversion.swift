import Checkpoints
import Foundation
import JSON
import Parallelism
import Torch

/// Weights between Hugging Face folders and torch_dist checkpoints, tensor by tensor, in the type that they have; what a folder
/// holds as e4m3 with scales is read as numbers of the type that its config.json names.
public enum CheckpointConversion {
  /// Writes a torch_dist checkpoint of the folder's weights, as iteration 0 of `directory`.
  public static func toTorchDist(_ folder: HuggingFaceFolder, in directory: CheckpointDirectory) throws {
    let model = try whole(folder)
    let names = MegatronNames(model.configuration)
    let files = try PlainTensors(folder, model.configuration)
    let save = try TorchDistSave.begin(in: directory, iteration: 0)
    do {
      let items = try catchingTorchErrors {
        try model.table.parameters.flatMap(\.pieces).flatMap { piece in
          let tensor = try files.tensor(piece)
          return names.parts(piece).map { part in
            SaveItem.shard(
              part.key, globalShape: part.globalShape, offsets: part.box.offsets,
              tensor[part.rows].reshape(part.box.sizes))
          }
        }
      }
      let contents = try save.write(items, rank: 0)
      try save.finish([contents], common: ["checkpoint_version": 3.0, "iteration": 0])
    } catch {
      save.discard()
      throw error
    }
  }

  /// Writes a Hugging Face folder of the weights of a torch_dist checkpoint; `folder` has its config.json and tokenizer, and
  /// prediction layers that the checkpoint lacks.
  /// - Parameter quantized: see `ModelFolderWriter`.
  public static func toHuggingFace(
    _ checkpoint: URL, like folder: HuggingFaceFolder, to destination: URL, quantized: Bool = false
  ) throws {
    let reader = try TorchDistReader(checkpoint)
    let plain = try ModelRegistry.configuration(of: folder)
    let trained = try plain.keepingPredictionLayers { piece in
      guard let all = try? plain.withPredictionLayers() else { return false }
      return reader.contains(MegatronNames(all).parts(piece)[0].key)
    }
    let configuration = try trained.keepingPredictionLayers(of: folder)
    let names = MegatronNames(configuration)
    let kept = trained == configuration ? nil : try PlainTensors(folder, configuration)
    func isKept(_ piece: ParameterPiece) -> Bool { kept != nil && configuration.isOfPredictionLayer(piece.checkpointName) }
    try ModelFolderWriter.write(configuration, to: destination, like: folder, quantized: quantized) { piece in
      if let kept, isKept(piece) { return try kept.dtype(piece) }
      let entry = try reader.description(of: names.parts(piece)[0].key)
      guard let dtype = entry.dtype else {
        throw ModelError("\(checkpoint.path) holds tensor '\(entry.name)' of type \(entry.dtypeName), which no model has")
      }
      return dtype
    } tensor: { piece in
      if let kept, isKept(piece) { return try kept.tensor(piece) }
      let parts = try names.parts(piece).map { part in
        try reader.tensor(part.key, part.box).reshape([part.rows.count] + piece.shape.dropFirst())
      }
      return parts.count == 1 ? parts[0] : Tensor.cat(parts, dim: 0)
    }
  }

  /// Writes a Hugging Face folder of another one's weights, with linear weights in e4m3 or without any.
  /// - Parameter quantized: see `ModelFolderWriter`.
  public static func toHuggingFace(_ folder: HuggingFaceFolder, to destination: URL, quantized: Bool) throws {
    let configuration = try ModelRegistry.configuration(of: folder).keepingPredictionLayers(of: folder)
    let files = try PlainTensors(folder, configuration)
    try ModelFolderWriter.write(
      configuration, to: destination, like: folder, quantized: quantized, dtype: files.dtype, tensor: files.tensor)
  }

  private static func whole(_ folder: HuggingFaceFolder) throws -> CausalLM {
    let configuration = try ModelRegistry.configuration(of: folder).keepingPredictionLayers(of: folder)
    return try configuration.model(parallel: .single(), dtype: configuration.dtype ?? .float32)
  }
}

/// A folder's tensors, none of them as e4m3 with scales.
private struct PlainTensors {
  private let files: StoredTensors
  private let dtype: DType

  init(_ folder: HuggingFaceFolder, _ configuration: ModelConfiguration) throws {
    (files, dtype) = (try StoredTensors(folder, configuration), configuration.dtype ?? .float32)
  }

  func dtype(_ piece: ParameterPiece) throws -> DType { try files.isQuantized(piece) ? dtype : files.tensor(piece).dtype }

  func tensor(_ piece: ParameterPiece) throws -> Tensor {
    let tensor = try files.tensor(piece)
    return try files.isQuantized(piece) ? tensor.to(dtype: dtype) : tensor
  }
}
