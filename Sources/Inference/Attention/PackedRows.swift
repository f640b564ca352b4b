import Models
import Torch

/// The attention of a batch's rows on a GPU in half precision, where they lie one after another: rows that decode by the
/// kernel that follows page tables, the others by one call for all that are alike.
final class PackedRows {
  private typealias Part = (tokens: Range<Int>, kernel: Kernel)
  private enum Kernel {
    case pageTable(PageTable)
    case whole(CuDNNAttention.Sequences)
    case invariant(InvariantSequences)
    case contexts(PackedContexts)
  }

  private let rows: [AttentionRow]
  private let cache: KVCache
  /// Of queries.
  private let dtype: DType
  private let device: Device
  private let isDeterministic: Bool
  /// All rows together: for rules that only FlashAttention knows, and where a row's result must not depend on others. (For
  /// single queries it divides contexts among threads, by how many there are.)
  private lazy var all = PackedContexts(
    rows, pageSize: cache.pageSize, device: device, leastMaxQuery: isDeterministic ? 2 : 0)
  /// The same rows, each run of rows by the kernel that is fastest for it.
  private lazy var parts = makeParts()

  /// Whether there are kernels that read the cache by its pages.
  private lazy var readsPages = cache.dtype == dtype
    && Kernels.attend(on: device, dtype, dimension: cache.keyDimension, valueDimension: cache.valueDimension)
  /// Whether there are kernels of which a row's result does not depend on others.
  private lazy var attendsInvariantly = readsPages && rows.allSatisfy(\.isPaged)

  /// Tokens of the longest of some prompts whose attention is worth cuDNN's plan for such lengths.
  private static let longPrompt = 512
  private enum Kind { case decoding, prompt, other }

  /// - Parameter isDeterministic: whether a token's result must not depend on what else the batch holds.
  init(_ rows: [AttentionRow], cache: KVCache, dtype: DType, device: Device, isDeterministic: Bool) {
    (self.rows, self.cache, self.dtype) = (rows, cache, dtype)
    (self.device, self.isDeterministic) = (device, isDeterministic)
  }

  private func makeParts() -> [Part] {
    let (dimension, valueDimension) = (cache.keyDimension, cache.valueDimension)
    let readsWhole = CuDNNAttention.isFast(on: device)
      && CuDNNAttention.takes(queryDimension: dimension, valueDimension: valueDimension)
    func kind(_ row: AttentionRow) -> Kind {
      if readsPages, row.queryLength == 1, row.isPaged { return .decoding }
      return readsWhole && !isDeterministic && row.isFresh ? .prompt : .other
    }
    return rows.chunked(by: kind).flatMap { kind, rows -> [Part] in
      let tokens = rows.first!.tokens.lowerBound..<rows.last!.tokens.upperBound
      switch kind {
      case .decoding: return [(tokens, .pageTable(PageTable(rows.map(\.pages), lengths: rows.map(\.contextLength), device: device)))]
      case .prompt where rows.contains { $0.queryLength >= Self.longPrompt }:
        return [(tokens, .whole(.init(prompts: rows.map(\.queryLength), device: device)))]
      case .other where isDeterministic:
        let sequences = rows.map { row in
          let queries = row.tokens.lowerBound - tokens.lowerBound..<row.tokens.upperBound - tokens.lowerBound
          return InvariantSequences.Sequence(queries: queries, start: row.start)
        }
        return [
          (tokens, .invariant(InvariantSequences(
            sequences, pages: rows.map(\.pages), pageSize: cache.pageSize, headDimension: dimension, device: device)))
        ]
      case .prompt, .other:
        return [(tokens, .contexts(PackedContexts(rows, pageSize: cache.pageSize, device: device, leastMaxQuery: 0)))]
      }
    }
  }

  func attend(
    query: Tensor, key: Tensor, value: Tensor, cachedKey: Tensor, cachedValue: Tensor, scale: Double, rule: AttentionRule
  ) -> Tensor {
    guard rule.isPlain, !isDeterministic || attendsInvariantly else {
      return all.attend(
        query: query, key: key, value: value, cachedKey: cachedKey, cachedValue: cachedValue, scale: scale, rule: rule)
    }
    let outputs = parts.map { tokens, kernel in
      let (query, key, value) = (query[tokens], key[tokens], value[tokens])
      switch kernel {
      case .pageTable(let table):
        return Kernels.decodeAttention(
          query: query, keys: cachedKey, values: cachedValue, table: table, scale: scale, pageSize: cache.pageSize,
          isInvariant: isDeterministic)
      case .invariant(let sequences):
        return Kernels.invariantAttention(query: query, keys: cachedKey, values: cachedValue, sequences, scale: scale).output
      case .whole(let sequences):
        return CuDNNAttention.forward(
          query, key, value, queries: sequences, keys: sequences, isCausal: true, scale: scale
        ).output
      case .contexts(let contexts):
        return contexts.attend(
          query: query, key: key, value: value, cachedKey: cachedKey, cachedValue: cachedValue, scale: scale, rule: rule)
      }
    }
    return outputs.count == 1 ? outputs[0] : Tensor.cat(outputs)
  }
}

extension Array {
  /// Runs of neighbours that have the same key.
  fileprivate func chunked<Key: Equatable>(by key: (Element) -> Key) -> [(Key, ArraySlice<Element>)] {
    var result: [(Key, ArraySlice<Element>)] = []
    for index in indices {
      let own = key(self[index])
      if let last = result.last, last.0 == own {
        result[result.count - 1].1 = self[last.1.startIndex...index]
      } else {
        result.append((own, self[index...index]))
      }
    }
    return result
  }
}
