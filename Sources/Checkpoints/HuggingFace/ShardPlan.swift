import Foundation
import JSON

/// Which tensor goes into which file: as `save_pretrained`, each file takes tensors in the model's order until the next
/// one would not fit; a tensor larger than a file may be gets one of its own.
struct ShardPlan {
  let files: [(name: String, tensors: [TensorSpecification])]
  /// What model.safetensors.index.json holds; nil for a single file.
  let index: JSONValue?

  init(_ tensors: [TensorSpecification], maximumShardBytes: Int, of folder: URL) throws {
    var (shards, open, openBytes, totalBytes) = ([[TensorSpecification]](), [TensorSpecification](), 0, 0)
    for tensor in tensors {
      guard let count = tensor.dtype.byteCount(shape: tensor.shape) else {
        throw CheckpointError(
          folder, "tensor '\(tensor.name)' cannot have the shape \(tensor.shape) with dtype \(tensor.dtype.rawValue)")
      }
      totalBytes += count
      if count > maximumShardBytes {
        shards.append([tensor])
        continue
      }
      if openBytes + count > maximumShardBytes {
        shards.append(open)
        (open, openBytes) = ([], 0)
      }
      open.append(tensor)
      openBytes += count
    }
    if !open.isEmpty || shards.isEmpty { shards.append(open) }
    guard shards.count > 1 else {
      files = [(WeightFiles.singleFile, shards[0])]
      index = nil
      return
    }
    let named = shards.enumerated().map { number, tensors in
      (name: "model-\(Self.fiveDigits(number + 1))-of-\(Self.fiveDigits(shards.count)).safetensors", tensors: tensors)
    }
    let places = named.flatMap { file in file.tensors.map { ($0.name, file.name) } }
      .sorted { $0.0.utf8.lexicographicallyPrecedes($1.0.utf8) }
    files = named
    index = [
      "metadata": [
        "total_parameters": .int(tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }),
        "total_size": .int(totalBytes),
      ],
      "weight_map": .object(JSONObject(places.map { ($0.0, .string($0.1)) })),
    ]
  }

  private static func fiveDigits(_ number: Int) -> String {
    String(repeating: "0", count: max(0, 5 - String(number).count)) + String(number)
  }
}
