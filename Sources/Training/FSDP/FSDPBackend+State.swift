import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import Torch

// The training state on disk: each rank of one copy of the weights writes its rows of every parameter and of its moments,
// under the parameter's name, so nothing is gathered; any number of ranks can read them back.
extension FSDPBackend {
  public var weightUnitSizes: [Int] { actor.sharded.units.map(\.count) }

  public func weights(ofUnit index: Int) throws -> [(name: String, tensor: Tensor)] {
    try catchingTorchErrors {
      actor.sharded.units[index].whole(on: parallel.device).flatMap { checkpointTensors($0, $1) }
    }
  }

  private static func shardFile(_ rank: Int, of size: Int) -> String {
    String(format: "shard-%05d-of-%05d.safetensors", rank + 1, size)
  }

  /// This rank's part of the state.
  private var parts: [(name: String, parameter: ShardedParameter, rows: Range<Int>, values: Tensor)] {
    actor.sharded.units.enumerated().flatMap { index, unit in
      [
        ("weight", unit.shard.detached()), ("first_moment", optimizer.firstMoments[index]),
        ("second_moment", optimizer.secondMoments[index]),
      ].flatMap { kind, vector in
        unit.rows(in: vector).map { ("\(kind).\($0.parameter.parameter.name)", $0.parameter, $0.rows, $0.values) }
      }
    }
  }

  public func saveState(into folder: URL) throws {
    let group = actor.sharded.group
    guard actor.sharded.replicas.rank == 0 else { return }
    try catchingTorchErrors {
      try SafetensorsWriter.write(
        to: folder.appendingPathComponent(Self.shardFile(group.rank, of: group.size)),
        tensors: parts.filter { !$0.rows.isEmpty }.map { TensorSource($0.name, $0.values) })
      guard group.rank == 0 else { return }
      var state = JSONObject([
        ("backend", "fsdp"), ("shards", .int(group.size)), ("optimizer_steps", .int(stepCount)),
        ("adam_steps", .int(Int(optimizer.steps[0].item()))),
      ])
      if let lossScale { state["loss_scale"] = try JSONValue(parsing: JSONEncoder().encode(lossScale)) }
      try writeAtomically(JSONValue.object(state).data(.indented(2)), to: folder.appendingPathComponent("trainer.json"))
    }
  }

  public func loadState(from folder: URL) throws {
    let file = folder.appendingPathComponent("trainer.json")
    let state = try JSONValue(parsing: try Data(contentsOf: file))
    guard state["backend"]?.string == "fsdp", let size = state["shards"]?.int, let steps = state["optimizer_steps"]?.int,
      let adamSteps = state["adam_steps"]?.int
    else {
      throw TrainingError("\(file.path) is not the state of an FSDP trainer; give another --load folder")
    }
    // A run that was not in fp16 has none.
    if lossScale != nil, let saved = state["loss_scale"] {
      lossScale = try JSONDecoder().decode(DynamicLossScale.self, from: saved.data())
    }
    let files = try (0..<size).map { try SafetensorsFile(folder.appendingPathComponent(Self.shardFile($0, of: size))) }
    try catchingTorchErrors {
      try withoutGradients {
        for part in parts { try read(part.name, part.parameter, part.rows, into: part.values, from: files) }
        for step in optimizer.steps { step.fill_(Double(adamSteps)) }
      }
    }
    stepCount = steps
  }

  /// Reads rows that lie one after another in the files of other ranks.
  private func read(
    _ name: String, _ parameter: ShardedParameter, _ rows: Range<Int>, into values: Tensor, from files: [SafetensorsFile]
  ) throws {
    var start = 0
    for file in files {
      // A rank without rows wrote none.
      guard let saved = file[name] else { continue }
      guard saved.shape.count == 2, saved.shape[1] == parameter.width else {
        throw TrainingError("\(file.url.path) has \(name) of shape \(saved.shape), but this model has rows of \(parameter.width)")
      }
      let range = start..<start + saved.shape[0]
      let overlap = rows.clamped(to: range)
      if !overlap.isEmpty {
        values[overlap.lowerBound - rows.lowerBound..<overlap.upperBound - rows.lowerBound]
          .copy_(try file.tensor(name)[overlap.lowerBound - range.lowerBound..<overlap.upperBound - range.lowerBound])
      }
      start = range.upperBound
    }
    guard start == parameter.rowCount else {
      throw TrainingError(
        "the files in \(files[0].url.deletingLastPathComponent().path) have \(start) rows of \(name), but this model has "
          + "\(parameter.rowCount); give the --load folder of the same model")
    }
  }
}
