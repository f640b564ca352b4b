import Checkpoints
import Foundation
import Models
import Parallelism
import Torch

// The training state as a torch_dist checkpoint: every rank writes boxes of tensors that do not depend on the layout, so
// that any layout can read its own. The optimizer's are in fp32 whatever types it keeps: any precision can go on.
extension MegatronBackend {
  private static let stateName = "slime.trainer"

  private static let masterPrefix = "optimizer.state.fp32_param."

  /// The moments of a buffer, by what stands before their keys.
  private func moments(_ index: Int) -> [(prefix: String, shard: Tensor)] {
    let adam = optimizer.optimizers[index]
    return [("optimizer.state.exp_avg.", adam.firstMoments[0]), ("optimizer.state.exp_avg_sq.", adam.secondMoments[0])]
  }

  public func startSaving(into folder: URL, withOptimizer: Bool) throws -> BackgroundTask<RankContents?> {
    try refuge.settle()
    let staged = try StagedItems(taking: state(withOptimizer: withOptimizer))
    let rank = parallel.rank
    return BackgroundTask("save") { try TorchDistWriter(folder: folder, rank: rank).write(staged) }
  }

  /// In host memory, one parameter after another: fp32 copies on the device are of one at a time.
  private func state(withOptimizer: Bool) throws -> [SaveItem] {
    try catchingTorchErrors {
      try withoutGradients {
        var items: [SaveItem] = []
        for (index, buffer) in optimizer.buffers.enumerated() {
          add("", of: buffer, to: &items) { buffer.weights[$0] }
          guard withOptimizer else { continue }
          let master = buffer.wholeMaster()
          add(Self.masterPrefix, of: buffer, to: &items) { master[$0].whole }
          for (prefix, shard) in moments(index) {
            let whole = buffer.whole(shard)
            add(prefix, of: buffer, to: &items) { whole[$0].to(dtype: .float32) }
          }
        }
        for constant in optimizer.constants where parallel.coordinates.data == 0 && parallel.coordinates.context == 0 {
          add("", constant, constant.tensor, to: &items)
        }
        if parallel.rank == 0 {
          let steps = optimizer.optimizers.map { Int($0.steps[0].item()) }
          items.append(
            try .value(
              Self.stateName,
              ["optimizer_steps": .int(stepCount), "adam_steps": .int(steps.max() ?? 0), "has_optimizer": .bool(withOptimizer)]))
        }
        return items
      }
    }
  }

  /// This rank's share of a buffer's numbers: of what ranks hold alike, each writes some.
  private func add(
    _ prefix: String, of buffer: ParameterBuffer, to items: inout [SaveItem], _ numbers: (Range<Int>) -> Tensor
  ) {
    for (index, parameter) in buffer.parameters.enumerated()
    where index % buffer.group.size == buffer.group.rank && !isCopy(parameter) {
      add(prefix, parameter, numbers(buffer.ranges[index]).view(parameter.shape), to: &items)
    }
  }

  /// This rank's slices of a parameter; of slices that several tensor-parallel ranks hold, the first of them writes.
  private func add(_ prefix: String, _ parameter: Parameter, _ value: Tensor, to items: inout [SaveItem]) {
    let group = parameter.sharing.isExpert ? parallel.expertTensor : parallel.tensor
    for (piece, rows) in parameter.rows where group.rank % (group.size / (piece.slice?.count ?? 1)) == 0 {
      for part in names.parts(piece) {
        items.append(
          .shard(
            prefix + part.key, globalShape: part.globalShape, offsets: part.box.offsets,
            value[rows][part.rows].reshape(part.box.sizes).hostCopy))
      }
    }
  }

  private var names: MegatronNames { MegatronNames(configuration) }

  /// The last stage's copy of a tied embedding, which the first stage writes.
  private func isCopy(_ parameter: Parameter) -> Bool {
    parallel.stage > 0 && chunks.contains { $0.sharedWithOtherStage === parameter }
  }

  public func loadState(from folder: URL, withOptimizer: Bool) throws {
    try refuge.settle()
    let reader = try TorchDistReader(folder)
    let state = reader.contains(Self.stateName) ? try reader.value(Self.stateName) : nil
    let hasMasters = reader.metadata.tensors.contains { $0.name.hasPrefix("optimizer.state.") }
    // A critic that begins from an actor's checkpoint takes its weights, but for the head, and learns anew.
    let startsCritic = configuration.head == .value && !reader.metadata.tensors.contains { ValueHead.holds($0.name) }
    let continues = withOptimizer && !startsCritic
    let hasOptimizer = hasMasters && continues
    /// Layers that were not trained before are as in the folder of the model.
    func isNew(_ parameter: Parameter) -> Bool {
      configuration.isOfPredictionLayer(parameter.name) && !reader.contains(names.parts(parameter.pieces[0])[0].key)
    }
    try catchingTorchErrors {
      try withoutGradients {
        for constant in optimizer.constants where !isNew(constant) { constant.tensor.copy_(try read("", constant, reader)) }
        for (index, buffer) in optimizer.buffers.enumerated() {
          let prefix = hasMasters ? Self.masterPrefix : ""
          try buffer.fill { parameter in
            startsCritic && ValueHead.holds(parameter.name) || isNew(parameter)
              ? parameter.tensor.detached().to(dtype: .float32) : try read(prefix, parameter, reader)
          }
          guard hasOptimizer else { continue }
          for (prefix, shard) in moments(index) {
            for (place, parameter) in buffer.parameters.enumerated() where !isNew(parameter) {
              buffer.keepOwn(try read(prefix, parameter, reader), at: place, in: shard)
            }
          }
          if continues, let steps = state?["adam_steps"]?.int { optimizer.optimizers[index].steps[0].fill_(Double(steps)) }
        }
      }
    }
    stepCount = !continues ? 0 : state?["optimizer_steps"]?.int ?? 0
  }

  /// This rank's part of a parameter, fp32.
  private func read(_ prefix: String, _ parameter: Parameter, _ reader: TorchDistReader) throws -> Tensor {
    let pieces = try parameter.pieces.map { piece in
      let parts = try names.parts(piece).map { part in
        try reader.tensor(prefix + part.key, part.box).to(dtype: .float32)
          .reshape([part.rows.count] + piece.localShape.dropFirst())
      }
      return parts.count == 1 ? parts[0] : Tensor.cat(parts, dim: 0)
    }
    return pieces.count == 1 ? pieces[0] : Tensor.cat(pieces, dim: 0)
  }
}
