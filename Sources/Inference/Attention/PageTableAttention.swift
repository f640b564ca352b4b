import Models
import Torch

/// Attention of a batch that decodes one token a row, by kernels that follow page tables, without a copy of the cache.
///
/// All that differs from step to step lies in tensors, so that the work can be recorded once.
final class PageTableAttention: AttentionBackend {
  /// Dimensions of a head that the kernel is made for.
  static let headDimensions: Set<Int> = [64, 128, 256]

  private let cache: KVCache
  private let slots: Tensor
  private let table: PageTable
  private let isDeterministic: Bool

  /// - Parameters:
  ///   - slots: where each row's key and value go. `[rows]`, int64
  ///   - isDeterministic: whether a row's result must not depend on the others.
  init(cache: KVCache, slots: Tensor, table: PageTable, isDeterministic: Bool) {
    (self.cache, self.slots, self.table, self.isDeterministic) = (cache, slots, table, isDeterministic)
  }

  func attend(
    query: Tensor, key: Tensor, value: Tensor, layer: Int, scale: Double, rule: AttentionRule
  ) -> Tensor {
    precondition(rule.isPlain, "a model with windows, soft caps or sinks is not recorded")
    let (keys, values) = (cache.keys[layer], cache.values[layer])
    Kernels.writePages(key: key, value: value, keys: keys, values: values, slots: slots)
    return Kernels.decodeAttention(
      query: query, keys: keys, values: values, table: table, scale: scale, pageSize: cache.pageSize, isInvariant: isDeterministic)
  }
}
