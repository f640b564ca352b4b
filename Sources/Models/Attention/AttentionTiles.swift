import Torch

/// How rows of queries and their contexts are cut into tiles and blocks. Tiles stand by how many blocks they see, most first.
struct AttentionTiles {
  /// Positions of a block.
  static let blockLength = 64
  /// Rows of a tile's products that are enough for them to be fast: its queries, once for each of the heads that share a key.
  private static let tileRows = 32

  /// The products of all tiles that see another block with that block.
  struct Step {
    /// Tiles times key-value heads.
    let matrixCount: Int
    /// For each of them the block's, int64.
    let blocks: Tensor
    /// The first tile in which some query does not see all of the block, and for it and those after it what is hidden from
    /// each row, `[tiles, 1, rows, blockLength]`; nil: nothing.
    var firstMasked = 0
    var hidden: Tensor?
  }

  let steps: [Step]
  private let heads: Int
  private let keyValueHeads: Int
  private let tileLength: Int
  /// Tokens of the batch, tile by tile; padding repeats a tile's first.
  private let queryCells: Tensor
  /// Slots of keys and values, block by block; padding repeats a sequence's first.
  private let contextCells: Tensor
  /// Where each token of the batch stands among `queryCells`.
  private let places: Tensor

  private struct Tile {
    let queries: Range<Int>
    /// Of the first query.
    let position: Int
    let firstBlock: Int
    var blockCount: Int { (position + queries.count - 1) / AttentionTiles.blockLength + 1 }
  }

  init(_ rows: [TiledAttention.Row], heads: Int, keyValueHeads: Int, device: Device) {
    (self.heads, self.keyValueHeads) = (heads, keyValueHeads)
    let shared = heads / max(keyValueHeads, 1)
    let tileLength = max(1, Self.tileRows / max(shared, 1))
    self.tileLength = tileLength
    var tiles: [Tile] = []
    var contexts: [Int] = []
    for row in rows {
      let firstBlock = contexts.count / Self.blockLength
      for start in stride(from: 0, to: row.queries.count, by: tileLength) {
        let first = row.queries.lowerBound + start
        tiles.append(
          Tile(
            queries: first..<min(first + tileLength, row.queries.upperBound), position: row.start + start,
            firstBlock: firstBlock))
      }
      contexts += row.contexts
      let padding = -contexts.count & (Self.blockLength - 1)
      contexts += repeatElement(row.contexts[0], count: padding)
    }
    tiles.sort { $0.blockCount > $1.blockCount }
    var cells: [Int] = []
    var places = [Int](repeating: 0, count: rows.reduce(0) { $0 + $1.queries.count })
    for tile in tiles {
      for token in tile.queries { places[token] = cells.count + token - tile.queries.lowerBound }
      cells += tile.queries
      cells += repeatElement(tile.queries.lowerBound, count: tileLength - tile.queries.count)
    }
    queryCells = Tensor(cells).to(device: device)
    contextCells = Tensor(contexts).to(device: device)
    self.places = Tensor(places).to(device: device)
    steps = Self.steps(tiles, keyValueHeads: keyValueHeads, tileLength: tileLength, shared: shared, device: device)
  }

  private static func steps(
    _ tiles: [Tile], keyValueHeads: Int, tileLength: Int, shared: Int, device: Device
  ) -> [Step] {
    /// Of each row of a tile: its query's position, padding that of the first.
    let positions = tiles.flatMap { tile in
      (0..<tileLength).flatMap { repeatElement(tile.position + ($0 < tile.queries.count ? $0 : 0), count: shared) }
    }
    let rowPositions = Tensor(positions).view([tiles.count, 1, tileLength * shared, 1])
    return (0..<(tiles.first?.blockCount ?? 0)).map { number in
      let active = tiles.prefix { $0.blockCount > number }
      let blocks = active.flatMap { tile in
        (0..<keyValueHeads).map { (tile.firstBlock + number) * keyValueHeads + $0 }
      }
      var step = Step(matrixCount: blocks.count, blocks: Tensor(blocks).to(device: device))
      let end = (number + 1) * blockLength
      if let first = active.firstIndex(where: { $0.position < end - 1 }) {
        let keys = Tensor.arange(number * blockLength, end)
        step.firstMasked = first
        step.hidden = rowPositions[first..<active.count].lt(keys).to(device: device)
      }
      return step
    }
  }

  func isFor(heads: Int, keyValueHeads: Int) -> Bool { self.heads == heads && self.keyValueHeads == keyValueHeads }

  /// `[T, heads, d]` → `[tiles · keyValueHeads, rows, d]`, fp32
  func queries(_ query: Tensor) -> Tensor {
    let (dimension, shared) = (query.size(2), heads / keyValueHeads)
    let picked = query.indexSelect(0, index: queryCells).to(dtype: .float32)
    let tiles = picked.size(0) / tileLength
    return picked.view([tiles, tileLength, keyValueHeads, shared, dimension]).transpose(1, dim1: 2)
      .reshape([tiles * keyValueHeads, tileLength * shared, dimension])
  }

  /// `[slots, keyValueHeads, d]` → `[blocks · keyValueHeads, blockLength, d]`, fp32
  func blocks(_ heads: Tensor) -> Tensor {
    let picked = heads.indexSelect(0, index: contextCells).to(dtype: .float32)
    let blocks = picked.size(0) / Self.blockLength
    return picked.view([blocks, Self.blockLength, keyValueHeads, heads.size(2)]).transpose(1, dim1: 2)
      .reshape([blocks * keyValueHeads, Self.blockLength, heads.size(2)])
  }

  /// `[tiles · keyValueHeads, rows, d]` → `[T, heads, d]`
  func tokens(_ rows: Tensor) -> Tensor {
    let (dimension, shared) = (rows.size(2), heads / keyValueHeads)
    let tiles = rows.size(0) / keyValueHeads
    return rows.view([tiles, keyValueHeads, tileLength, shared, dimension]).transpose(1, dim1: 2)
      .reshape([tiles * tileLength, heads, dimension]).indexSelect(0, index: places)
  }
}
