import Models
import Torch

/// Rows of a batch as one rectangle of queries `[rows, queryLength]` against one of contexts `[rows, contextLength]`.
///
/// Index tensors and mask are made once and serve all layers. A padding cell repeats the row's first token or slot, so
/// no row reads memory of another: what one request computes cannot reach its neighbours, not even as NaN.
struct AttentionGroup {
  private let rows: Int
  private let queryLength: Int
  private let contextLength: Int
  /// All rows are fresh: contexts are the batch's own keys and values.
  private let isFresh: Bool
  /// `[rows · queryLength]`: the token of the batch in each cell; nil: the batch in its order.
  private let queryCells: Tensor?
  /// `[rows · contextLength]`: cache slots, or tokens of the batch when fresh.
  private let contextCells: Tensor
  /// `[rows, 1, queryLength, contextLength]`, 0 or −∞; nil where the causal triangle, or nothing, is to be hidden.
  private let mask: Tensor?
  /// The cells that are no padding; nil: all.
  private let realCells: Tensor?
  private let windows: WindowMasks
  /// The tokens of the batch in the real cells, in their order.
  let tokens: [Int]

  init(_ members: [AttentionRow], batchCount: Int, pageSize: Int, dtype: DType, device: Device) {
    rows = members.count
    let queryLength = members.map(\.queryLength).max()!
    let contextLength = members.map(\.contextLength).max()!
    (self.queryLength, self.contextLength) = (queryLength, contextLength)
    isFresh = members[0].isFresh
    tokens = members.flatMap { Array($0.tokens) }

    var queries: [Int] = []
    var contexts: [Int] = []
    var real: [Int] = []
    queries.reserveCapacity(rows * queryLength)
    contexts.reserveCapacity(rows * contextLength)
    for (row, member) in members.enumerated() {
      real += row * queryLength..<row * queryLength + member.queryLength
      queries += member.tokens
      queries += repeatElement(member.tokens.lowerBound, count: queryLength - member.queryLength)
      if isFresh {
        contexts += member.tokens
      } else {
        contexts += member.slots(pageSize: pageSize)
      }
      contexts += repeatElement(contexts[row * contextLength], count: contextLength - member.contextLength)
    }
    let isWhole = queries.count == batchCount && queries.elementsEqual(0..<batchCount)
    queryCells = isWhole ? nil : Tensor(queries).sent(to: device)
    contextCells = Tensor(contexts).sent(to: device)
    realCells = real.count == queries.count ? nil : Tensor(real).sent(to: device)
    windows = WindowMasks(members, queryLength, contextLength, device)
    mask = isFresh ? nil : Self.mask(members, queryLength, contextLength)?.to(dtype: dtype, device: device)
  }

  /// Lets each query see the positions up to its own (bottom-right causal), and in a tree those that lead to it.
  private static func mask(_ members: [AttentionRow], _ queryLength: Int, _ contextLength: Int) -> Tensor? {
    if queryLength == 1, members.allSatisfy({ $0.contextLength == contextLength }) { return nil }
    let mask = Tensor.empty([members.count, 1, queryLength, contextLength])
    mask.withMutableBytes { bytes in
      let cells = bytes.bindMemory(to: Float.self)
      var cell = 0
      for member in members {
        for query in 0..<queryLength {
          let visible = member.visible(to: min(query, member.queryLength - 1))
          for position in 0..<contextLength { cells[cell + position] = position < visible.below ? 0 : -.infinity }
          for position in visible.others { cells[cell + position] = 0 }
          cell += contextLength
        }
      }
    }
    return mask
  }

  /// Outputs of the real tokens, in `tokens`' order. `[tokens.count, heads, valueHeadDimension]`
  func attend(
    query: Tensor, key: Tensor, value: Tensor, cachedKey: Tensor, cachedValue: Tensor, scale: Double, rule: AttentionRule
  ) -> Tensor {
    let (heads, dimension) = (query.size(1), query.size(2))
    let keyValueHeads = key.size(1)
    func contexts(_ own: Tensor, _ cached: Tensor) -> Tensor {
      (isFresh ? own : cached).indexSelect(0, index: contextCells).to(dtype: own.dtype)
        .view([rows, contextLength, keyValueHeads, own.size(2)]).transpose(1, dim1: 2)
    }
    let queries = queryCells.map { query.indexSelect(0, index: $0) } ?? query
    let output: Tensor
    if !rule.isPlain {
      let groups = heads / keyValueHeads
      func all(_ heads: Tensor) -> Tensor { heads.repeatingHeads(groups) }
      output = EagerAttention.attend(
        queries.view([rows, queryLength, heads, dimension]).transpose(1, dim1: 2), all(contexts(key, cachedKey)),
        all(contexts(value, cachedValue)), hidden: windows.hidden(rule.window), scale: scale, rule: rule
      ).transpose(1, dim1: 2)
    } else if queryLength == 1 {
      // The query heads that share keys stand as queries side by side.
      output = queries.view([rows, keyValueHeads, heads / keyValueHeads, dimension]).scaledDotProductAttention(
        contexts(key, cachedKey), value: contexts(value, cachedValue), attnMask: mask, scale: scale)
    } else {
      output = queries.view([rows, queryLength, heads, dimension]).transpose(1, dim1: 2).scaledDotProductAttention(
        contexts(key, cachedKey), value: contexts(value, cachedValue), attnMask: mask, isCausal: mask == nil,
        scale: scale, enableGqa: heads != keyValueHeads
      ).transpose(1, dim1: 2)
    }
    let cells = output.reshape([rows * queryLength, heads, value.size(2)])
    return realCells.map { cells.indexSelect(0, index: $0) } ?? cells
  }
}

/// Which contexts the queries of a group do not see, by the layers' windows: made when the first layer asks.
private final class WindowMasks {
  private let members: [AttentionRow]
  private let queryLength, contextLength: Int
  private let device: Device
  private var known: [Int?: Tensor] = [:]

  init(_ members: [AttentionRow], _ queryLength: Int, _ contextLength: Int, _ device: Device) {
    (self.members, self.queryLength, self.contextLength, self.device) = (members, queryLength, contextLength, device)
  }

  /// Bool `[rows, 1, queryLength, contextLength]`.
  /// - Parameter window: positions that a query sees, its own the last of them; nil: all up to its own.
  func hidden(_ window: Int?) -> Tensor {
    if let made = known[window] { return made }
    if members.contains(where: { $0.branches != nil }) {
      let hidden = ofTrees(window).to(device: device)
      known[window] = hidden
      return hidden
    }
    // A padding cell sees what the row's last query does.
    let queries = Tensor(
      members.flatMap { member in (0..<queryLength).map { member.start + min($0, member.queryLength - 1) } },
      shape: [members.count, 1, queryLength, 1]
    ).to(device: device)
    let contexts = Tensor.arange(contextLength).to(device: device)
    var hidden = contexts.gt(queries)
    if let window { hidden = hidden.logicalOr(contexts.le(queries - window)) }
    known[window] = hidden
    return hidden
  }

  /// The same where drafts are trees: each sees what leads to it, and stands behind that.
  private func ofTrees(_ window: Int?) -> Tensor {
    var hidden = [Float](repeating: 1, count: members.count * queryLength * contextLength)
    var cell = 0
    for member in members {
      for query in 0..<queryLength {
        let query = min(query, member.queryLength - 1)
        let visible = member.visible(to: query)
        // What it sees in the order of positions, its own the last.
        let seen = Array(0..<visible.below) + visible.others.sorted()
        for place in seen.suffix(window ?? seen.count) { hidden[cell + place] = 0 }
        cell += contextLength
      }
    }
    return Tensor(hidden, shape: [members.count, 1, queryLength, contextLength]).gt(0.5)
  }
}
