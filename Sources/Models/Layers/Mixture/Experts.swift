import Parallelism
import Torch

/// The gated feed-forward layers of this rank's experts: expert parallelism divides the experts, expert tensor parallelism
/// splits each of them over its intermediate dimension.
public struct Experts {
  /// `[experts · 2 · inner, hiddenSize]`: each expert's gate, then its up projection.
  let gateUp: Parameter
  /// `[experts · hiddenSize, inner]`
  let down: Parameter
  /// `[experts · 2 · inner]` and `[experts · hiddenSize]`; nil: experts have no biases.
  let gateUpBias: Parameter?
  let downBias: Parameter?
  private let activation: Activation
  /// On this rank.
  private let count: Int
  private let parallel: ParallelContext

  init(
    _ scope: ParameterScope, _ mixture: MixtureConfiguration, hiddenSize: Int, activation: Activation,
    initializer: Initializer, parallel: ParallelContext
  ) {
    (self.activation, self.parallel) = (activation, parallel)
    count = mixture.expertCount / parallel.expert.size
    let own = parallel.expert.rank * count..<(parallel.expert.rank + 1) * count
    let group = parallel.expertTensor
    func piece(
      _ expert: Int, _ name: String, _ shape: [Int], splitting dimension: Int?, leaf: String = "weight"
    ) -> ParameterPiece {
      ParameterPiece(
        scope(expert)(name).name(leaf), shape: shape,
        slice: dimension.flatMap { dimension in
          group.size > 1 ? .init(dimension: dimension, index: group.rank, count: group.size) : nil
        })
    }
    let inner = mixture.intermediateSize
    gateUp = scope.parameter(
      "gate_up_proj",
      pieces: own.flatMap { expert in
        ["gate_proj", "up_proj"].map { piece(expert, $0, [inner, hiddenSize], splitting: 0) }
      }, initializer: initializer, sharing: WeightSharing(isExpert: true), isLinear: true)
    down = scope.parameter(
      "down_proj", pieces: own.map { piece($0, "down_proj", [hiddenSize, inner], splitting: 1) },
      initializer: initializer, sharing: WeightSharing(isExpert: true), isLinear: true)
    guard mixture.hasExpertBias else {
      (gateUpBias, downBias) = (nil, nil)
      return
    }
    gateUpBias = scope.parameter(
      "gate_up_proj_bias",
      pieces: own.flatMap { expert in
        ["gate_proj", "up_proj"].map { piece(expert, $0, [inner], splitting: 0, leaf: "bias") }
      }, initializer: .constant(0), sharing: WeightSharing(isExpert: true))
    downBias = scope.parameter(
      "down_proj_bias", pieces: own.map { piece($0, "down_proj", [hiddenSize], splitting: nil, leaf: "bias") },
      initializer: .constant(0), sharing: WeightSharing(isExpert: true))
  }

  /// Rows by experts, `[rows, hiddenSize]` → the same, partial where experts are split.
  func callAsFunction(_ rows: Tensor, _ groups: RowGroups) -> Tensor {
    /// Each row's expert's.
    func biased(_ outputs: Tensor, _ bias: Tensor?) -> Tensor {
      guard let bias else { return outputs }
      return outputs + bias.view([count, -1]).repeatInterleave(groups.counts, dim: 0, outputSize: outputs.size(0))
    }
    let both = biased(parallel.groupedLinear(rows, gateUp, groups, count: count), gateUpBias?.tensor).chunk(2, dim: 1)
    let outputs = parallel.groupedLinear(activation.gated(both[0], both[1], parallel), down, groups, count: count)
    return biased(outputs, downBias.map { sharedBias($0.tensor) })
  }

  /// A bias that all ranks of a split expert have, and whose sum is added once.
  private func sharedBias(_ bias: Tensor) -> Tensor {
    let splitSize = parallel.expertTensor.size
    guard splitSize > 1 else { return bias }
    let share = 1 / Double(splitSize)
    return Tensor.function("SharedBias", input: bias, forward: { bias.detached() * share }) { $0 }
  }
}
