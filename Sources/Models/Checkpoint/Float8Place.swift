import Torch

/// How to come from a tensor that is stored as e4m3, and from its scales, to a matrix that is a part of it: one expert's where
/// there are several, inputs and outputs exchanged, some of its rows.
struct Float8Place {
  private let expert: Int?
  private let isTransposed: Bool
  /// What leads to the rows.
  private let steps: [StoredPart.Step]
  /// Of the tensor's matrices, before any are taken.
  private let rowCount: Int

  /// - Returns: nil: the part is no such matrix.
  init?(_ part: StoredPart) {
    var steps = part.steps[...]
    var shape = part.shape
    if shape.count == 3, case .select(0, let index)? = steps.first {
      (expert, steps, shape) = (index, steps.dropFirst(), Array(shape.dropFirst()))
    } else {
      expert = nil
    }
    guard shape.count == 2 else { return nil }
    isTransposed = steps.first == .transpose
    if isTransposed { steps = steps.dropFirst() }
    // Dimensions that rows are counted by.
    var count = 1
    for step in steps {
      switch step {
      case .unflatten(let dimension, let sizes) where dimension < count: count += sizes.count - 1
      case .select(let dimension, _) where dimension < count: count -= 1
      case .narrow(let dimension, start: _, length: _) where dimension < count: break
      case .every(let dimension, start: _, step: _) where dimension < count: break
      default: return nil
      }
    }
    (self.steps, rowCount) = (Array(steps), shape[isTransposed ? 1 : 0])
  }

  /// Whether the matrix can be read with such scales.
  func knows(_ scaling: Float8Scaling) -> Bool {
    switch scaling {
    case .tensor: true
    case .row: !isTransposed
    case .block(let rows, let columns): !isTransposed || rows == columns
    }
  }

  /// - Parameters:
  ///   - values, scales: the tensors as they are stored.
  ///   - scaling: which it knows.
  func matrix(_ values: Tensor, scales: Tensor, _ scaling: Float8Scaling) -> Float8Matrix {
    var (values, scales) = (values, scales)
    if let expert {
      values = values.select(0, index: expert)
      // One scale may stand for all of them.
      if scales.count > 1 { scales = scales.select(0, index: expert) }
    }
    if isTransposed {
      values = values.t()
      if case .block = scaling { scales = scales.t() }
    }
    let whole = Float8Matrix(values: values, stored: scales, scaling)
    guard !steps.isEmpty else { return whole }
    return Float8Matrix(values: taken(of: whole.values), scales: taken(of: whole.scales), groupSize: whole.groupSize)
  }

  private func taken(of rows: Tensor) -> Tensor { StoredPart.cells(steps, of: rows).reshape([-1, rows.size(1)]) }

  /// Whether rows that share scales still do where the part's own are counted from its first one.
  func keepsBlocks(_ scaling: Float8Scaling) -> Bool {
    guard case .block(let height, _) = scaling, !steps.isEmpty else { return true }
    let rows: [Int] = taken(of: .arange(rowCount).unsqueeze(1)).flatten().array()
    return rows.enumerated().allSatisfy { place, row in
      row % height == place % height && (place % height == 0 || row == rows[place - 1] + 1)
    }
  }
}
