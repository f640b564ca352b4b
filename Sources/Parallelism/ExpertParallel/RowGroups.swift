import Torch

/// Rows that stand group by group (those of one expert after those of another).
public final class RowGroups {
  /// Rows of each group, `[groups]`, int64.
  public let counts: Tensor

  public init(_ counts: Tensor) { self.counts = counts }

  /// Where each group ends, `[groups]`, int32.
  public private(set) lazy var ends: Tensor = withoutGradients { counts.cumsum(0).to(dtype: .int32) }

  /// The counts on the host.
  public private(set) lazy var hostCounts: [Int] = counts.hostCounts(counts.size(0))
}

extension Tensor {
  /// The elements; zeros where what should have made them failed, so that code which counts by them reaches its end.
  func hostCounts(_ count: Int) -> [Int] {
    let values: [Int] = array()
    return values.count == count ? values : Array(repeating: 0, count: count)
  }
}
