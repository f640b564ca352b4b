import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import Torch

// The training state on disk: each rank writes its shards of weights and moments, so nothing is gathered; any number of
// ranks can read them back, since a flat vector is the old ranks' shards one after another.
extension FSDPBackend {
  public var weightUnitSizes: [Int] { actor.sharded.units.map { $0.parameters.reduce(0) { $0 + $1.count } } }

  public func weights(ofUnit index: Int) throws -> [(name: String, tensor: Tensor)] {
    try catchingTorchErrors {
      actor.sharded.units[index].whole().flatMap { checkpointTensors($0, $1) }
    }
  }

  private static func shardFile(_ rank: Int, of size: Int) -> String {
    String(format: "shard-%05d-of-%05d.safetensors", rank + 1, size)
  }

  /// The vectors of each unit, by the names they have in the files.
  private var vectors: [(name: String, tensor: Tensor, unit: ShardedUnit)] {
    actor.sharded.units.enumerated().flatMap { index, unit in
      [
        ("unit.\(index).weight", unit.shard.detached(), unit),
        ("unit.\(index).first_moment", optimizer.firstMoments[index], unit),
        ("unit.\(index).second_moment", optimizer.secondMoments[index], unit),
      ]
    }
  }

  public func saveState(into folder: URL) throws {
    let (rank, size) = (actor.sharded.group.rank, actor.sharded.group.size)
    try catchingTorchErrors {
      try SafetensorsWriter.write(
        to: folder.appendingPathComponent(Self.shardFile(rank, of: size)),
        tensors: vectors.map { TensorSource($0.name, $0.tensor.to(device: .cpu)) })
      guard rank == 0 else { return }
      let state: JSONValue = [
        "backend": "fsdp", "shards": .int(size), "optimizer_steps": .int(stepCount),
        "adam_steps": .array(optimizer.steps.map { .int(Int($0.item())) }),
      ]
      try writeAtomically(state.data(.indented(2)), to: folder.appendingPathComponent("trainer.json"))
    }
  }

  public func loadState(from folder: URL) throws {
    let file = folder.appendingPathComponent("trainer.json")
    let state = try JSONValue(parsing: try Data(contentsOf: file))
    guard state["backend"]?.string == "fsdp", let size = state["shards"]?.int, let steps = state["optimizer_steps"]?.int,
      let adamSteps = state["adam_steps"]?.array?.compactMap(\.int), adamSteps.count == optimizer.steps.count
    else {
      throw TrainingError("\(file.path) is not the state of an FSDP trainer of this model; give another --load folder")
    }
    let files = try (0..<size).map { try SafetensorsFile(folder.appendingPathComponent(Self.shardFile($0, of: size))) }
    try catchingTorchErrors {
      try withoutGradients {
        for (name, tensor, unit) in vectors {
          let parts = try files.map { try $0.tensor(name) }
          let flat = parts.count == 1 ? parts[0] : Tensor.cat(parts, dim: 0)
          try unit.fillOwn(tensor, from: flat, name: name)
        }
        for (step, value) in zip(optimizer.steps, adamSteps) { step.fill_(Double(value)) }
      }
    }
    stepCount = steps
  }
}

extension ShardedUnit {
  /// Copies this rank's slice out of a whole flat vector, whose padding may be another's.
  fileprivate func fillOwn(_ own: Tensor, from flat: Tensor, name: String) throws {
    let count = parameters.reduce(0) { $0 + $1.count }
    guard flat.count >= count else {
      throw TrainingError("the checkpoint's \(name) has \(flat.count) elements, but this model needs \(count)")
    }
    let start = rank * own.count
    let end = min(start + own.count, count)
    guard start < end else { return }
    own[0..<end - start].copy_(flat[start..<end])
  }
}
