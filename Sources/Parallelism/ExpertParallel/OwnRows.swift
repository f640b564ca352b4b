import Torch

/// The rows of tokens for this rank's experts, where every rank has all tokens.
public struct OwnRows {
  public let groups: RowGroups
  private let expertsPerToken: Int
  /// Of all (token, choice), those for experts here, by experts; int64.
  private let order: Tensor
  private let count: Int

  /// - Parameter experts: of each token, `[T, expertsPerToken]`, int64, the same on every rank.
  public init(_ experts: Tensor, expertCount: Int, parallel: ParallelContext) {
    let flat = experts.flatten()
    // Sizes of failed operations are not to be divided by.
    (expertsPerToken, count) = (max(experts.size(1), 1), flat.count)
    // Stable: each expert sees its tokens in their order.
    let order = flat.sort(stable: true).indices
    let counts = Tensor.zeros([expertCount], dtype: .int64, device: flat.device)
      .scatterAdd_(0, index: flat, src: .ones([flat.count], dtype: .int64, device: flat.device))
    guard parallel.expert.size > 1 else {
      (self.order, groups) = (order, RowGroups(counts))
      return
    }
    let local = expertCount / parallel.expert.size
    let first = parallel.expert.rank * local
    let host = counts.hostCounts(expertCount)
    self.order = order.narrow(
      0, start: host[..<first].reduce(0, +), length: host[first..<first + local].reduce(0, +))
    groups = RowGroups(counts.narrow(0, start: first, length: local))
  }

  /// `[T, width]` → `[rows, width]`, as `groups` says.
  public func rows(of tokens: Tensor) -> Tensor { tokens.indexSelect(0, index: order.floorDivide(expertsPerToken)) }

  /// What this rank's experts made of the rows, zero for those of others: `[T, expertsPerToken, width]`.
  public func collected(_ rows: Tensor) -> Tensor {
    Tensor.zeros([count, rows.size(1)], dtype: rows.dtype, device: rows.device).indexCopy_(0, index: order, source: rows)
      .view([count / expertsPerToken, expertsPerToken, rows.size(1)])
  }
}
