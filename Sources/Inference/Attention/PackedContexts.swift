import Models
import Torch

/// The contexts of all rows one after another, for FlashAttention's variable-length kernel.
struct PackedContexts {
  /// Cache slots of all contexts; nil: all rows are fresh, and the batch's own keys and values are their contexts.
  private let slots: Tensor?
  private let cumulativeQueries: Tensor
  private let cumulativeContexts: Tensor
  private let longestQuery: Int
  private let longestContext: Int

  /// - Parameter leastMaxQuery: what the kernel is told at least of the longest row. For single queries (1) it divides
  ///   contexts among threads, by how many there are.
  init(_ rows: some Collection<AttentionRow>, pageSize: Int, device: Device, leastMaxQuery: Int) {
    func cumulative(_ lengths: [Int]) -> Tensor {
      Tensor(lengths.reduce(into: [Int32(0)]) { $0.append($0.last! + Int32($1)) }).sent(to: device)
    }
    slots = rows.allSatisfy(\.isFresh) ? nil : Tensor(rows.flatMap { $0.slots(pageSize: pageSize) }).sent(to: device)
    cumulativeQueries = cumulative(rows.map(\.queryLength))
    cumulativeContexts = cumulative(rows.map(\.contextLength))
    longestQuery = max(rows.map(\.queryLength).max()!, leastMaxQuery)
    longestContext = rows.map(\.contextLength).max()!
  }

  func attend(
    query: Tensor, key: Tensor, value: Tensor, cachedKey: Tensor, cachedValue: Tensor, scale: Double, rule: AttentionRule
  ) -> Tensor {
    let dimension = Tensor.flashDimension(query, value)
    func contexts(_ own: Tensor, _ cached: Tensor) -> Tensor {
      (slots.map { cached.indexSelect(0, index: $0).to(dtype: own.dtype) } ?? own).paddedHeads(to: dimension)
    }
    let (output, logSumExp, _, _, _) = query.paddedHeads(to: dimension).flashAttentionForward(
      contexts(key, cachedKey), value: contexts(value, cachedValue), cumSeqQ: cumulativeQueries,
      cumSeqK: cumulativeContexts, maxQ: longestQuery, maxK: longestContext, dropoutP: 0, isCausal: true,
      returnDebugMask: false, scale: scale, windowSizeLeft: rule.window.map { $0 - 1 },
      windowSizeRight: rule.window.map { _ in 0 })
    let narrow = output.narrowedHeads(to: value.size(2))
    return rule.sinks.map { AttentionSinks.merged($0, output: narrow, logSumExp: logSumExp.t()).output } ?? narrow
  }
}
