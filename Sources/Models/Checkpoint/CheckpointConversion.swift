import Checkpoints
import Foundation
import JSON
import Parallelism
import Torch

/// Weights between a Hugging Face folder and a torch_dist checkpoint, tensor by tensor, in the type that they have.
public enum CheckpointConversion {
  /// Writes a torch_dist checkpoint of the folder's weights, as iteration 0 of `directory`.
  public static func toTorchDist(_ folder: HuggingFaceFolder, in directory: CheckpointDirectory) throws {
    let (model, names) = try whole(folder)
    let files = StoredTensors(try folder.weights(), model.configuration)
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

  /// Writes a Hugging Face folder of the weights of a torch_dist checkpoint; `folder` has its config.json and tokenizer.
  public static func toHuggingFace(_ checkpoint: URL, like folder: HuggingFaceFolder, to destination: URL) throws {
    let (model, names) = try whole(folder)
    let reader = try TorchDistReader(checkpoint)
    let pieces = model.table.parameters.flatMap(\.pieces)
    func dtype(_ piece: ParameterPiece) throws -> SafetensorsDType {
      let entry = try reader.description(of: names.parts(piece)[0].key)
      guard let dtype = entry.dtype else {
        throw ModelError("\(checkpoint.path) holds tensor '\(entry.name)' of type \(entry.dtypeName), which no model has")
      }
      return SafetensorsDType(dtype)
    }
    let layout = StoredLayout(model)
    let dtypes = try Dictionary(
      pieces.map { (model.configuration.storedParts($0.checkpointName, $0.shape)[0].name, try dtype($0)) }
    ) { first, _ in first }
    let writer = try HuggingFaceWriter(
      to: destination, config: folder.config.withoutQuantization(),
      tensors: layout.tensors.map { TensorSpecification(name: $0.name, dtype: dtypes[$0.name]!, shape: $0.shape) },
      copyingFrom: folder)
    var assembly = layout.assembly()
    for piece in pieces {
      let parts = try names.parts(piece).map { part in
        try reader.tensor(part.key, part.box).reshape([part.rows.count] + piece.shape.dropFirst())
      }
      let weight = parts.count == 1 ? parts[0] : Tensor.cat(parts, dim: 0)
      if let whole = assembly.add(piece.checkpointName, weight) { try writer.write(whole.name, whole.tensor) }
    }
    try writer.finish()
  }

  private static func whole(_ folder: HuggingFaceFolder) throws -> (CausalLM, MegatronNames) {
    let configuration = try ModelRegistry.configuration(of: folder)
    return (
      try configuration.model(parallel: .single(), dtype: configuration.dtype ?? .float32), MegatronNames(configuration)
    )
  }
}

extension JSONValue {
  /// A config.json of weights that are saved as numbers of their own.
  public func withoutQuantization() -> JSONValue {
    guard case .object(var object) = self else { return self }
    object["quantization_config"] = nil
    return .object(object)
  }
}
