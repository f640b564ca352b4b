import Checkpoints
import Foundation
import Models
import Parallelism
import Torch

// The training state as a checkpoint of PyTorch's `torch.distributed.checkpoint`, under the names of the Hugging Face
// checkpoint: each rank writes the rows that it holds, so nothing is gathered, and any number of ranks can read theirs. All
// is in fp32 whatever types the optimizer keeps: any precision can go on.
extension FSDPBackend {
  private static let stateName = "slime.trainer"

  /// What this rank holds of a unit's parameters in a vector laid out as its shard.
  func pieces(_ unit: ShardedUnit, _ vector: Tensor) -> [HeldWeight] {
    unit.rows(in: vector).flatMap { sharded, own, values in
      sharded.parameter.rows.compactMap { piece, rows in
        let common = rows.clamped(to: own)
        guard !common.isEmpty else { return nil }
        let box = TensorBox(
          offsets: [common.lowerBound - rows.lowerBound] + piece.shape.dropFirst().map { _ in 0 },
          sizes: [common.count] + piece.shape.dropFirst())
        let first = common.lowerBound - own.lowerBound
        return HeldWeight(
          name: piece.checkpointName, shape: piece.shape, box: box, values: values[first..<first + common.count])
      }
    }
  }

  /// The optimizer's vectors of a unit, by what stands before the names.
  private func moments(_ index: Int) -> [(prefix: String, vector: Tensor)] {
    [
      ("optimizer.state.exp_avg.", optimizer.firstMoments[index]),
      ("optimizer.state.exp_avg_sq.", optimizer.secondMoments[index]),
    ]
  }

  public func startSaving(into folder: URL, withOptimizer: Bool) throws -> BackgroundTask<RankContents?> {
    try refuge.settle()
    let staged = try StagedItems(taking: state(withOptimizer: withOptimizer))
    let rank = parallel.rank
    return BackgroundTask("save") { try TorchDistWriter(folder: folder, rank: rank).write(staged) }
  }

  /// In host memory, one unit after another: fp32 copies on the device are of one at a time.
  private func state(withOptimizer: Bool) throws -> [SaveItem] {
    try catchingTorchErrors {
      var items: [SaveItem] = []
      for (index, unit) in actor.sharded.units.enumerated() where unit.holdsDividedExperts || parallel.replicas.rank == 0 {
        for (prefix, vector) in [("", unit.master.whole)] + (withOptimizer ? moments(index) : []) {
          items += pieces(unit, vector.to(dtype: .float32)).map {
            .shard(prefix + $0.name, globalShape: $0.shape, offsets: $0.box.offsets, $0.values.hostCopy)
          }
        }
      }
      guard parallel.rank == 0 else { return items }
      for constant in constants {
        items += checkpointTensors(constant, constant.tensor).map { .tensor($0.name, $0.tensor.hostCopy) }
      }
      var trainer: [(PickleValue, PickleValue)] = [
        ("backend", "fsdp"), ("optimizer_steps", .int(stepCount)), ("adam_steps", .int(Int(optimizer.steps[0].item()))),
        ("has_optimizer", .bool(withOptimizer)),
      ]
      if let lossScale { trainer.append(("loss_scale", lossScale.saved)) }
      let state = PickleValue.dictionary(trainer.map { PicklePair($0.0, $0.1) })
      return items + [try .value(Self.stateName, state)]
    }
  }

  /// Every rank holds them whole.
  var constants: [Parameter] { actor.sharded.parts.flatMap(\.constants) }

  public func loadState(from folder: URL, withOptimizer: Bool) throws {
    try refuge.settle()
    let reader = try TorchDistReader(folder)
    let state = reader.contains(Self.stateName) ? try reader.value(Self.stateName) : nil
    guard let state, state["backend"]?.string == "fsdp", let steps = state["optimizer_steps"]?.int else {
      throw TrainingError("\(folder.path) is not the state of an FSDP trainer; give another --load folder")
    }
    // A critic that begins from an actor's checkpoint takes its weights, but for the head, and learns anew.
    let startsCritic = configuration.head == .value && !reader.metadata.tensors.contains { ValueHead.holds($0.name) }
    var known = Set(actor.undivided.parameters.flatMap(\.pieces).map(\.checkpointName))
    if startsCritic { known.insert("lm_head.weight") }
    if let other = reader.metadata.tensors.map(\.name).first(where: { !$0.hasPrefix("optimizer.") && !known.contains($0) }) {
      throw TrainingError("\(folder.path) holds '\(other)', which this model does not have; give another --load folder")
    }
    /// Layers that were not trained before are as in the folder of the model.
    func isNew(_ name: String) -> Bool { configuration.isOfPredictionLayer(name) && !reader.contains(name) }
    func read(_ prefix: String, _ pieces: [HeldWeight]) throws {
      for piece in pieces where !(startsCritic && ValueHead.holds(piece.name) || isNew(piece.name)) {
        try reader.check(prefix + piece.name, shape: piece.shape)
        piece.values.copy_(try reader.tensor(prefix + piece.name, piece.box))
      }
    }
    let continues = withOptimizer && !startsCritic
    let adamSteps = state["has_optimizer"]?.bool == true && continues ? state["adam_steps"]?.int : nil
    try catchingTorchErrors {
      try withoutGradients {
        for (index, unit) in actor.sharded.units.enumerated() {
          let master = unit.master.whole
          try read("", pieces(unit, master))
          unit.master.take(master)
          guard let adamSteps else { continue }
          for (prefix, vector) in moments(index) { try read(prefix, pieces(unit, vector)) }
          optimizer.steps[index].fill_(Double(adamSteps))
        }
        for constant in constants {
          for (name, values) in checkpointTensors(constant, constant.tensor) where !isNew(name) {
            try reader.check(name, shape: values.shape)
            values.copy_(try reader.tensor(name))
          }
        }
      }
    }
    stepCount = continues ? steps : 0
    // A run that was not in fp16 had none.
    if continues, lossScale != nil, let saved = state["loss_scale"].flatMap(DynamicLossScale.init(saved:)) { lossScale = saved }
  }
}

extension DynamicLossScale {
  fileprivate var saved: PickleValue {
    ["scale": .double(scale), "good_steps": .int(goodSteps), "skipped_steps": .int(skippedSteps)]
  }

  fileprivate init?(saved: PickleValue) {
    guard let scale = saved["scale"]?.double, let good = saved["good_steps"]?.int, let skipped = saved["skipped_steps"]?.int
    else { return nil }
    self.init(scale: scale, goodSteps: good, skippedSteps: skipped)
  }
}
