import Models
import Torch

/// Attention of one mixed batch (prompt chunks and decoding tokens) over a paged cache: writes the new keys and values to
/// their slots, then lets each token attend to its request's positions up to its own.
///
/// On a GPU in half precision kernels run on packed rows (`PackedRows`). Elsewhere pages are gathered into contiguous memory,
/// for libtorch's kernels on padded groups of similar rows; on a CPU rows that decode read them where they lie
/// (`DecodingRows`).
public final class PagedAttention: AttentionBackend {
  /// Rows that decode, and padded groups of the others that are similar. `order`: where each token of the batch stands among
  /// their outputs, one after another; nil: in its place.
  private struct Groups {
    let decoding: DecodingRows?
    let groups: [AttentionGroup]
    let order: Tensor?
  }

  private let cache: KVCache
  /// Where the keys and values of the batch's tokens are written. `[T]`, int64
  let slots: Tensor
  private let rows: [AttentionRow]
  private let dtype: DType
  private let device: Device
  private let isDeterministic: Bool
  /// Whether no row's drafts are a tree, which neither FlashAttention nor tiles know.
  private let isPlain: Bool
  /// Made when the first layer asks: layers of one model may need both.
  /// Of layers that keep states; nil: the batch has none.
  private let plan: BatchPlan?
  private lazy var stateGroups = StateGroup.of(plan!, device: device)
  private lazy var packed = PackedRows(rows, cache: cache, dtype: dtype, device: device, isDeterministic: isDeterministic)
  private lazy var groups = makeGroups(reading: !isDeterministic && DecodingRows.canAttend(cache, dtype, device))
  private lazy var tiles = TiledAttention(
    rows.map { TiledAttention.Row(queries: $0.tokens, start: $0.start, contexts: $0.slots(pageSize: cache.pageSize)) },
    device: device)

  /// - Parameters:
  ///   - dtype: that of queries, keys and values.
  ///   - isDeterministic: whether a token's result is the same bits whatever the batch holds beside it.
  public convenience init(
    _ plan: BatchPlan, cache: KVCache, dtype: DType, device: Device, isDeterministic: Bool = false
  ) {
    var count = 0
    let rows = plan.items.map { item in
      defer { count += item.tokens.count }
      var row = AttentionRow(tokens: count..<count + item.tokens.count, start: item.start, pages: item.pages)
      let drafts = item.drafts
      if drafts.branches { row.branches = drafts }
      return row
    }
    self.init(
      rows, slots: plan.items.flatMap { $0.slots(pageSize: cache.pageSize) }, cache: cache, dtype: dtype, device: device,
      isDeterministic: isDeterministic, plan: plan)
  }

  /// - Parameters:
  ///   - rows: one after another all tokens of the batch.
  ///   - slots: where the keys and values of each are written.
  ///   - plan: the batch, where layers keep states of it.
  init(
    _ rows: [AttentionRow], slots: [Int], cache: KVCache, dtype: DType, device: Device, isDeterministic: Bool = false,
    plan: BatchPlan? = nil
  ) {
    self.plan = plan
    (self.rows, self.cache, self.dtype, self.device) = (rows, cache, dtype, device)
    (self.slots, self.isDeterministic) = (Tensor(slots).sent(to: device), isDeterministic)
    isPlain = rows.allSatisfy { $0.branches == nil }
  }

  /// - Parameter readsPages: whether rows that decode read pages where they lie.
  private func makeGroups(reading readsPages: Bool) -> Groups {
    let count = rows.last?.tokens.upperBound ?? 0
    let single = readsPages ? rows.filter(DecodingRows.include) : []
    let others = single.isEmpty ? rows : rows.filter { !DecodingRows.include($0) }
    let decoding = single.isEmpty
      ? nil : DecodingRows(single, batchCount: count, pageSize: cache.pageSize, device: device)
    let groups = others.isEmpty ? [] : AttentionRow.grouped(others).map {
      AttentionGroup($0, batchCount: count, pageSize: cache.pageSize, dtype: dtype, device: device)
    }
    var place = [Int](repeating: 0, count: count)
    for (index, token) in ((decoding?.tokens ?? []) + groups.flatMap(\.tokens)).enumerated() { place[token] = index }
    return Groups(
      decoding: decoding, groups: groups, order: place.elementsEqual(0..<count) ? nil : Tensor(place).sent(to: device))
  }

  public func attend(
    query: Tensor, key: Tensor, value: Tensor, layer: Int, scale: Double, rule: AttentionRule
  ) -> Tensor {
    let (key, value) = cache.write(key: key, value: value, slots: slots, layer: layer)
    let (cachedKey, cachedValue) = (cache.keys[layer], cache.values[layer])
    // FlashAttention knows windows, and sinks are merged with what it says; soft caps are for plain operators.
    if isPlain, device.kind == .cuda, dtype != .float32, rule.softCap == nil {
      return packed.attend(
        query: query, key: key, value: value, cachedKey: cachedKey, cachedValue: cachedValue, scale: scale, rule: rule)
    }
    if isPlain, isDeterministic, rule.isPlain { return tiles.attend(query, cachedKey, cachedValue, scale: scale).output }
    let single = groups.decoding.map {
      $0.attend(query: query, cachedKey: cachedKey, cachedValue: cachedValue, scale: scale, rule: rule)
    }
    let outputs = (single.map { [$0] } ?? []) + groups.groups.map {
      $0.attend(
        query: query, key: key, value: value, cachedKey: cachedKey, cachedValue: cachedValue, scale: scale, rule: rule)
    }
    let joined = outputs.count == 1 ? outputs[0] : Tensor.cat(outputs, dim: 0)
    return groups.order.map { joined.indexSelect(0, index: $0) } ?? joined
  }

  public func recur(_ input: Tensor, parameters: [Tensor], layer: Int, _ scan: @escaping SequenceScan) -> Tensor {
    guard let cache = cache.states else { preconditionFailure("layer \(layer) keeps states, and there is no memory for any") }
    let outputs = stateGroups.map { group in
      let before = cache.states(layer: layer, slots: group.before, fresh: group.fresh)
      let (output, after) = scan(
        input.narrow(0, start: group.tokens.lowerBound, length: group.tokens.count), group.sequences, before)
      cache.keep(after!, layer: layer, slots: group.after)
      if let copies = group.copies { cache.keep(after!, layer: layer, slots: copies.slots, rows: copies.rows) }
      return output
    }
    return outputs.count == 1 ? outputs[0] : Tensor.cat(outputs)
  }
}
