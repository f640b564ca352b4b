/// One item of a batch, as attention sees it.
struct AttentionRow {
  /// Where its tokens stand in the batch.
  let tokens: Range<Int>
  /// Positions before them, whose keys and values are in the cache.
  let start: Int
  let pages: [Int]
  /// The position that stands first in the pages' order and is looked at.
  var firstPosition = 0
  /// Slots of the last positions, its own among them, where they are not those of the pages.
  var tail: [Int] = []
  /// Of the drafts at the end of its tokens, where they are a tree: each sees only itself and what leads to it.
  var branches: DraftTree?

  var queryLength: Int { tokens.count }
  var contextLength: Int { start + tokens.count }
  /// Nothing precedes: keys and values are those of the batch.
  var isFresh: Bool { start == 0 }
  /// All its positions lie in its pages, from the first on.
  var isPaged: Bool { firstPosition == 0 && tail.isEmpty }

  /// The cache slots of all its positions.
  func slots(pageSize: Int) -> [Int] {
    [Int](unsafeUninitializedCapacity: contextLength) { buffer, count in
      let length = contextLength - tail.count
      var offset = firstPosition % pageSize
      for page in pages.dropFirst(firstPosition / pageSize) where count < length {
        for slot in page * pageSize + offset..<min((page + 1) * pageSize, page * pageSize + offset + length - count) {
          buffer[count] = slot
          count += 1
        }
        offset = 0
      }
      for slot in tail {
        buffer[count] = slot
        count += 1
      }
    }
  }

  /// Which positions a token sees: those before a number, and some single ones.
  func visible(to query: Int) -> (below: Int, others: [Int]) {
    guard let branches, query >= queryLength - branches.count else { return (start + query + 1, []) }
    let first = queryLength - branches.count
    return (start + first, branches.ancestry(of: query - first).map { start + first + $0 })
  }
}

extension AttentionRow {
  /// Cuts the rows of a batch into groups that are run as one padded rectangle each. Rows stay in their order where one
  /// group holds them all.
  static func grouped(_ rows: [AttentionRow]) -> [[AttentionRow]] {
    if Rectangle(around: rows).isTight, rows.allSatisfy({ $0.isLike(rows[0]) }) { return [rows] }
    var groups: [[AttentionRow]] = []
    var rectangle = Rectangle(around: [])
    for row in rows.sorted(by: { $0.sortKey > $1.sortKey }) {
      let wider = rectangle.including(row)
      if let first = groups.last?.first, row.isLike(first), wider.isTight {
        groups[groups.count - 1].append(row)
        rectangle = wider
      } else {
        groups.append([row])
        rectangle = Rectangle(around: [row])
      }
    }
    return groups
  }

  private var sortKey: (Int, Int, Int) { (isFresh ? 1 : 0, queryLength, contextLength) }

  private func isLike(_ other: AttentionRow) -> Bool {
    isFresh == other.isFresh && (queryLength == 1) == (other.queryLength == 1)
  }
}

/// How much room rows take when they are padded to the longest.
private struct Rectangle {
  /// Lengths up to which padding costs less than another group of operators.
  private static let shortLength = 64
  /// Cells of a mask that one group may have.
  private static let maxMaskCells = 1 << 22

  private var rows = 0
  private var shortest = (query: Int.max, context: Int.max)
  private var longest = (query: 0, context: 0)

  init(around rows: [AttentionRow]) {
    for row in rows { self = including(row) }
  }

  func including(_ row: AttentionRow) -> Rectangle {
    var wider = self
    wider.rows += 1
    wider.shortest = (min(shortest.query, row.queryLength), min(shortest.context, row.contextLength))
    wider.longest = (max(longest.query, row.queryLength), max(longest.context, row.contextLength))
    return wider
  }

  /// At most a third of each long side is padding.
  var isTight: Bool {
    func isTight(_ shortest: Int, _ longest: Int) -> Bool { longest <= Self.shortLength || longest * 2 <= shortest * 3 }
    return isTight(shortest.query, longest.query) && isTight(shortest.context, longest.context)
      && (rows == 1 || rows * longest.query * longest.context <= Self.maxMaskCells)
  }
}
