import Parallelism
import Torch

/// The gated feed-forward layers of this rank's experts: expert parallelism divides the experts, expert tensor parallelism
/// splits each of them over its intermediate dimension.
public struct Experts {
  /// `[experts · 2 · inner, hiddenSize]`: each expert's gate, then its up projection.
  let gateUp: Parameter
  /// `[experts · hiddenSize, inner]`
  let down: Parameter
  /// On this rank.
  private let count: Int
  private let parallel: ParallelContext

  init(
    _ scope: ParameterScope, _ mixture: MixtureConfiguration, hiddenSize: Int, initializer: Initializer,
    parallel: ParallelContext
  ) {
    self.parallel = parallel
    count = mixture.expertCount / parallel.expert.size
    let own = parallel.expert.rank * count..<(parallel.expert.rank + 1) * count
    let group = parallel.expertTensor
    func piece(_ expert: Int, _ name: String, _ shape: [Int], splitting dimension: Int) -> ParameterPiece {
      ParameterPiece(
        scope(expert)(name).name("weight"), shape: shape,
        slice: group.size > 1 ? .init(dimension: dimension, index: group.rank, count: group.size) : nil)
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
  }

  /// Rows by experts, `[rows, hiddenSize]` → the same, partial where experts are split.
  func callAsFunction(_ rows: Tensor, _ groups: RowGroups) -> Tensor {
    let both = parallel.groupedLinear(rows, gateUp, groups, count: count).chunk(2, dim: 1)
    return parallel.groupedLinear(parallel.silu(both[0]) * both[1], down, groups, count: count)
  }
}
