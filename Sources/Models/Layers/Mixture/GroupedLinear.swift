import Parallelism
import Torch

extension ParallelContext {
  /// y = x Wᵀ where each group of rows has a matrix of its own.
  /// - Parameter weights: `[groups, outputs, inputs]`
  func groupedLinear(_ rows: Tensor, _ weights: Tensor, _ groups: RowGroups) -> Tensor {
    if !isDeterministic, rows.isForGroupedKernel(weights) {
      return rows.groupedMm(weights.transpose(1, dim1: 2), offs: groups.ends)
    }
    let matrices = weights.unbind(0)
    let used = zip(rows.splitWithSizes(groups.hostCounts), matrices).filter { $0.0.size(0) > 0 }
    // Without rows it is a link of the graph all the same: collectives before it run in the backward pass too.
    guard !used.isEmpty else { return rows.linear(matrices[0]) }
    return Tensor.cat(used.map { linear($0, $1) }, dim: 0)
  }
}

extension Tensor {
  /// libtorch's kernel needs rows of 16 bytes. On a GPU it is fast in bf16; on a CPU it visits every group, which pays
  /// where most of them have rows.
  fileprivate func isForGroupedKernel(_ weights: Tensor) -> Bool {
    let isAligned = weights.shape.dropFirst().allSatisfy { $0 * dtype.size % 16 == 0 }
    guard isAligned || device.kind == .meta else { return false }
    switch device.kind {
    case .cuda: return dtype == .bfloat16
    case .cpu: return dtype != .float64 && size(0) >= weights.size(0)
    case .meta: return true
    }
  }
}
