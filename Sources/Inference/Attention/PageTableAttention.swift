import Models
import Torch

/// Attention of a batch that decodes one token a row, by kernels that follow page tables, without a copy of the cache.
///
/// All that differs from step to step lies in tensors, so that the work can be recorded once.
final class PageTableAttention: AttentionBackend {
  private let cache: KVCache
  private let table: PageTable
  private let isDeterministic: Bool

  /// - Parameter isDeterministic: whether a row's result must not depend on the others.
  init(cache: KVCache, table: PageTable, isDeterministic: Bool) {
    (self.cache, self.table, self.isDeterministic) = (cache, table, isDeterministic)
  }

  func attend(
    query: Tensor, key: Tensor, value: Tensor, layer: Int, scale: Double, rule: AttentionRule
  ) -> Tensor {
    precondition(rule.isPlain, "a model with windows, soft caps or sinks is not recorded")
    return Kernels.decodeAttention(
      query: query, last: (key, value), keys: cache.keys[layer], values: cache.values[layer], table: table, scale: scale,
      pageSize: cache.pageSize, isInvariant: isDeterministic)
  }
}
