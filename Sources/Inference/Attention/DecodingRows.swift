import Models
import Torch

/// The rows of a batch that decode one token each on a CPU, which attend to their pages where they lie.
struct DecodingRows {
  /// Their tokens of the batch, in their order.
  let tokens: [Int]
  /// The same; nil: the batch in its order.
  private let index: Tensor?
  private let table: PageTable
  private let pageSize: Int

  /// Whether there is a kernel for the cache, in a batch with queries of a type.
  static func canAttend(_ cache: KVCache, _ dtype: DType, _ device: Device) -> Bool {
    cache.dtype == dtype && PageAttention.takes(
      dtype, on: device, dimension: cache.keyDimension, valueDimension: cache.valueDimension)
  }

  /// Whether a row is one of them.
  static func include(_ row: AttentionRow) -> Bool { row.queryLength == 1 && row.isPaged && row.branches == nil }

  init(_ rows: [AttentionRow], batchCount: Int, pageSize: Int, device: Device) {
    tokens = rows.map(\.tokens.lowerBound)
    index = tokens.elementsEqual(0..<batchCount) ? nil : Tensor(tokens)
    table = PageTable(rows.map(\.pages), lengths: rows.map(\.contextLength), device: device)
    self.pageSize = pageSize
  }

  /// Outputs in `tokens`' order. `[tokens.count, heads, valueHeadDimension]`
  func attend(query: Tensor, cachedKey: Tensor, cachedValue: Tensor, scale: Double, rule: AttentionRule) -> Tensor {
    PageAttention.attend(
      query: index.map { query.indexSelect(0, index: $0) } ?? query, keys: cachedKey, values: cachedValue, table: table,
      scale: scale, pageSize: pageSize, window: rule.window, softCap: rule.softCap, sinks: rule.sinks)
  }
}
