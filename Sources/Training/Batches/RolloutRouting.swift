import Models
import Parallelism
import Torch

// Rollout routing replay: tokens go where the engine sent them when it sampled (slime's R3).
extension PackedBatch {
  /// What the engine chose for this rank's tokens of the samples that the pack was made of.
  ///
  /// A sample's last token, which the engine never ran, and padding go to the first experts: nothing that is trained
  /// on depends on them.
  func routing(_ batch: TrainBatch, _ samples: [Int], _ model: ModelConfiguration, _ parallel: ParallelContext) -> RoutingRecord? {
    guard let mixture = model.mixture, let experts = batch.routedExperts else { return nil }
    let width = model.layerCount * mixture.expertsPerToken
    let ranges = batch.routedRanges
    let unknown = (0..<width).map { Int32($0 % mixture.expertsPerToken) }
    var rows: [Int32] = []
    rows.reserveCapacity(tokenCount * width)
    var place = 0
    for (sequence, length) in lengths.enumerated() {
      let range = sequence < samples.count ? ranges[samples[sequence]] : 0..<0
      for position in hostPositions[place..<place + length] {
        let start = range.lowerBound + position * width
        rows += start < range.upperBound ? experts[start..<start + width] : unknown[...]
      }
      place += length
    }
    let tensor = Tensor(rows).view([tokenCount, model.layerCount, mixture.expertsPerToken])
    return RoutingRecord(tensor.to(device: parallel.device), parallel: parallel)
  }
}

extension TrainBatch {
  /// - Throws: `TrainingError` when the engine's choices are missing or are not of this model.
  func checkRouting(_ model: ModelConfiguration) throws {
    guard let mixture = model.mixture, let routedExperts else {
      throw TrainingError(
        "--use-rollout-routing-replay needs samples with rollout_routed_experts, and these have none; leave it out")
    }
    let rows = totalLengths.reduce(0) { $0 + Int($1) - 1 }
    let width = model.layerCount * mixture.expertsPerToken
    guard routedExperts.count == rows * width else {
      throw TrainingError(
        "the samples have \(routedExperts.count) rollout_routed_experts for \(rows) tokens, but the model needs "
          + "\(model.layerCount) layers × \(mixture.expertsPerToken) experts for each")
    }
    if let bad = routedExperts.first(where: { $0 < 0 || $0 >= mixture.expertCount }) {
      throw TrainingError("rollout_routed_experts hold expert \(bad), but the model has \(mixture.expertCount)")
    }
  }
}
