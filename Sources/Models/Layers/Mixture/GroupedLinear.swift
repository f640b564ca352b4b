import Parallelism
import Torch

extension Parameter {
  /// y = x Wᵀ where each group of rows has a matrix of its own: this weight's, one below another.
  func groupedLinear(_ input: Tensor, _ groups: RowGroups, count: Int) -> Tensor {
    guard let float8 else {
      return input.groupedLinear(tensor.view([count, shape[0] / count, shape[1]]), groups)
    }
    if let product = groupedProduct(input, float8, groups, count: count) { return product }
    let outputs = shape[0] / count
    let products = input.splitWithSizes(groups.hostCounts).enumerated().compactMap { group, rows in
      rows.size(0) == 0 ? nil : rows.float8Linear(float8.rows(group * outputs..<(group + 1) * outputs))
    }
    return products.isEmpty ? .empty([0, outputs], dtype: input.dtype, device: input.device) : .cat(products, dim: 0)
  }

  /// All groups by one kernel, which knows one scale a row; nil: libtorch has none for this.
  private func groupedProduct(_ input: Tensor, _ weight: Float8Matrix, _ groups: RowGroups, count: Int) -> Tensor? {
    let (outputs, inputs) = (shape[0] / count, shape[1])
    guard input.device.kind == .cuda, input.dtype == .bfloat16, input.size(0) > 0, weight.scales.size(1) == 1,
      outputs % 16 == 0, inputs % 16 == 0
    else { return nil }
    let rows = Float8Matrix(quantizing: input, .row)
    return rows.values.scaledGroupedMm(
      weight.values.view([count, outputs, inputs]).transpose(1, dim1: 2), scaleA: rows.scales.view([input.size(0)]),
      scaleB: weight.scales.view([count, outputs]), offs: groups.ends, outDtype: .bfloat16)
  }
}

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
