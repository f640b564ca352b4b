import Parallelism
import Torch

extension ParallelContext {
  /// y = x Wᵀ where each group of rows has a matrix of its own: the weight's, one below another.
  func groupedLinear(_ rows: Tensor, _ weight: Parameter, _ groups: RowGroups, count: Int) -> Tensor {
    if let float8 = weight.float8 { return rows.groupedLinear(float8, groups, count: count) }
    return groupedLinear(rows, weight.tensor.view([count, weight.shape[0] / count, weight.shape[1]]), groups)
  }

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

extension Tensor {
  /// The same with matrices in e4m3.
  fileprivate func groupedLinear(_ weight: Float8Matrix, _ groups: RowGroups, count: Int) -> Tensor {
    if let product = groupedProduct(weight, groups, count: count) { return product }
    let outputs = weight.values.size(0) / count
    let products = splitWithSizes(groups.hostCounts).enumerated().compactMap { group, rows in
      rows.size(0) == 0 ? nil : rows.float8Linear(weight.rows(group * outputs..<(group + 1) * outputs))
    }
    return products.isEmpty ? .empty([0, outputs], dtype: dtype, device: device) : .cat(products, dim: 0)
  }

  /// All groups by one kernel, which knows one scale a row; nil: libtorch has none for this.
  private func groupedProduct(_ weight: Float8Matrix, _ groups: RowGroups, count: Int) -> Tensor? {
    guard device.kind == .cuda, dtype == .bfloat16, size(0) > 0, weight.isForGroupedKernel(count: count) else { return nil }
    let (outputs, inputs) = (weight.values.size(0) / count, weight.values.size(1))
    let rows = Float8Matrix(quantizing: self, .row)
    return rows.values.scaledGroupedMm(
      weight.values.view([count, outputs, inputs]).transpose(1, dim1: 2), scaleA: rows.scales.view([size(0)]),
      scaleB: weight.scales.view([count, outputs]), offs: groups.ends, outDtype: .bfloat16)
  }
}

extension Float8Matrix {
  /// Whether libtorch's kernel on a Hopper GPU takes so many matrices, one below another.
  fileprivate func isForGroupedKernel(count: Int) -> Bool {
    scales.size(1) == 1 && values.size(0) / count % 16 == 0 && values.size(1) % 16 == 0
  }
}

extension CausalLM {
  /// Whether the host has to know how many rows go to each expert before it can queue their products with e4m3, on a GPU.
  public var countsRowsOfFloat8Experts: Bool {
    guard let mixture = configuration.mixture else { return false }
    let count = mixture.expertCount / parallel.expert.size
    return table.parameters.contains { $0.sharing.isExpert && $0.float8?.isForGroupedKernel(count: count) == false }
  }
}
