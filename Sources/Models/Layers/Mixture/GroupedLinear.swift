import Parallelism
import Torch

extension Tensor {
  /// y = x Wᵀ where each group of rows has a matrix of its own.
  /// - Parameter weights: `[groups, outputs, inputs]`
  func groupedLinear(_ weights: Tensor, _ groups: RowGroups) -> Tensor {
    if isForGroupedKernel(weights) { return groupedMm(weights.transpose(1, dim1: 2), offs: groups.ends) }
    let matrices = weights.unbind(0)
    let used = zip(splitWithSizes(groups.hostCounts), matrices).filter { $0.0.size(0) > 0 }
    // Without rows it is a link of the graph all the same: collectives before it run in the backward pass too.
    guard !used.isEmpty else { return linear(matrices[0]) }
    return Tensor.cat(used.map { $0.linear($1) }, dim: 0)
  }

  /// libtorch's kernel needs rows of 16 bytes. On a GPU it is fast in bf16; on a CPU it visits every group, which pays
  /// where most of them have rows.
  private func isForGroupedKernel(_ weights: Tensor) -> Bool {
    let isAligned = weights.shape.dropFirst().allSatisfy { $0 * dtype.size % 16 == 0 }
    guard isAligned || device.kind == .meta else { return false }
    switch device.kind {
    case .cuda: return dtype == .bfloat16
    case .cpu: return dtype != .float64 && size(0) >= weights.size(0)
    case .meta: return true
    }
  }
}
