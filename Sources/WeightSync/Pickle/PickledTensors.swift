import Checkpoints
import Foundation
import Inference
import Torch

/// Named tensors as Python pickles them for SGLang's `/update_weights_from_tensor`: with torch's `ForkingPickler` (whose
/// tensors lie in shared memory), or plainly (whose tensors lie in the pickle).
///
/// Nothing of a pickle is ever run: the names that it may use are those of `PickledTensors.allowed`, and what it says
/// about sizes is checked before it is believed.
public enum PickledTensors {
  static let reductions = "torch.multiprocessing.reductions"
  static let metadataModules = ["sglang.srt.weight_sync.tensor_bucket", "sglang.srt.model_executor.model_runner"]

  static let allowed = PickleAllowList.torchSave.adding(
    ["rebuild_tensor", "rebuild_typed_storage", "rebuild_storage_filename", "rebuild_storage_fd", "rebuild_storage_empty",
      "rebuild_cuda_tensor", "rebuild_parameter"].map { PickleGlobal(reductions, $0) }
      + metadataModules.map { PickleGlobal($0, "FlattenedTensorMetadata") }
      + metadataModules.map { PickleGlobal($0, "LocalSerializedTensor") }
      + [
        PickleGlobal("torch", "Tensor"), PickleGlobal("torch.nn.parameter", "Parameter"),
        PickleGlobal("torch.storage", "_load_from_bytes"), PickleGlobal("torch.storage", "TypedStorage"),
        PickleGlobal("multiprocessing.reduction", "DupFd"), PickleGlobal("multiprocessing.resource_sharer", "DupFd"),
        PickleGlobal("torch", "UntypedStorage"),
      ])

  /// The tensors of a list of (name, tensor) pairs or a dictionary of them.
  public static func named(_ pickle: Data) throws -> [NamedBytes] {
    try read(pickle) { value in
      if let pairs = value.pairs {
        return try pairs.map { try tensor(name: $0.key, $0.value) }
      }
      guard let items = value.array else {
        throw PickleError("the pickle holds \(value.kind), not a list of (name, tensor) pairs")
      }
      return try items.map { item in
        guard let pair = item.array, pair.count == 2 else {
          throw PickleError("the pickle's list holds \(item.kind), not a (name, tensor) pair")
        }
        return try tensor(name: pair[0], pair[1])
      }
    }
  }

  private static func tensor(name: PickleValue, _ value: PickleValue) throws -> NamedBytes {
    guard let name = name.string else { throw PickleError("the pickle gives a tensor \(name.kind) for a name") }
    do {
      let tensor = try PickledTensor(value)
      return NamedBytes(name, dtype: tensor.dtype, shape: tensor.shape, bytes: try tensor.bytes())
    } catch let error as PickleError {
      throw PickleError("the tensor '\(name)': \(error.problem)")
    }
  }

  /// The tensors of SGLang's flattened bucket: a dictionary of a one-dimensional byte tensor and where each lies in it.
  public static func flattened(_ pickle: Data) throws -> [NamedBytes] {
    try read(pickle) { value in
      guard let flat = value["flattened_tensor"], let metadata = value["metadata"]?.array else {
        throw PickleError("the pickle holds \(value.kind), not a dict of flattened_tensor and metadata")
      }
      let tensor = try PickledTensor(flat)
      let bytes = try tensor.bytes()
      return try metadata.map { try part($0, of: bytes) }
    }
  }

  private static func part(_ value: PickleValue, of bucket: Data) throws -> NamedBytes {
    guard let object = value.object, let name = object["name"]?.string, let shape = object["shape"]?.integers,
      let typeName = object["dtype"]?.global?.name, let start = object["start_idx"]?.int, let end = object["end_idx"]?.int
    else { throw PickleError("the pickle's metadata hold \(value.kind) without name, shape, dtype, start_idx and end_idx") }
    let dtype = try PickledTensor.dtype(typeName)
    guard start >= 0, start <= end, end <= bucket.count else {
      throw PickleError("the tensor '\(name)' lies at bytes \(start)..<\(end) of a bucket of \(bucket.count)")
    }
    guard try PickledTensor.byteCount(shape, dtype) == end - start else {
      throw PickleError("the tensor '\(name)' of shape \(shape) and dtype \(typeName) does not fill bytes \(start)..<\(end)")
    }
    return NamedBytes(name, dtype: dtype, shape: shape, bytes: bucket[bucket.startIndex + start..<bucket.startIndex + end])
  }

  private static func read<R>(_ pickle: Data, _ body: (PickleValue) throws -> R) throws -> R {
    do {
      return try body(pickle.withUnsafeBytes { try PickleReader.value(of: $0, allowing: allowed) })
    } catch let error as PickleError {
      throw WeightSyncError("The serialized tensors cannot be read: \(error.problem).")
    }
  }
}
