import Images
import Torch

/// Where the patches of some pictures stand, on the host. Patches that are merged come one after another.
struct VisionGeometry {
  /// Row and column of each patch in its picture.
  private(set) var places: [(row: Int, column: Int)] = []
  private let grids: [ImageGrid]
  private let mergeSize: Int

  init(_ grids: [ImageGrid], mergeSize: Int) {
    (self.grids, self.mergeSize) = (grids, mergeSize)
    for grid in grids {
      let frame = stride(from: 0, to: grid.height, by: mergeSize).flatMap { row in
        stride(from: 0, to: grid.width, by: mergeSize).flatMap { column in
          (0..<mergeSize * mergeSize).map { (row: row + $0 / mergeSize, column: column + $0 % mergeSize) }
        }
      }
      for _ in 0..<grid.time { places += frame }
    }
  }

  /// Patches of each frame.
  var frameLengths: [Int] { grids.flatMap { Array(repeating: $0.height * $0.width, count: $0.time) } }

  /// Merged patches ordered by windows of so many a side, which end where a picture does, and patches of each window.
  func windows(side: Int) -> (order: [Int], lengths: [Int]) {
    var (order, lengths): ([Int], [Int]) = ([], [])
    var first = 0
    for grid in grids {
      let (rows, columns) = (grid.height / mergeSize, grid.width / mergeSize)
      for _ in 0..<grid.time {
        for top in stride(from: 0, to: rows, by: side) {
          for left in stride(from: 0, to: columns, by: side) {
            let window = (top..<min(top + side, rows)).flatMap { row in
              (left..<min(left + side, columns)).map { first + row * columns + $0 }
            }
            order += window
            lengths.append(window.count * mergeSize * mergeSize)
          }
        }
        first += rows * columns
      }
    }
    return (order, lengths)
  }

  /// Of each patch, the four places of a square of `side` that it lies between, and their shares: the square's corners are
  /// those of the picture.
  func interpolation(side: Int) -> (indices: [Int], weights: [Float]) {
    /// In fp32, as in `transformers`.
    func taps(_ place: Int, _ size: Int) -> (low: Int, high: Int, share: Float) {
      let exact = Float(place) * Float(side - 1) / Float(max(size - 1, 1))
      let low = Int(exact)
      return (low, min(low + 1, side - 1), exact - Float(low))
    }
    var (indices, weights): ([Int], [Float]) = ([], [])
    var start = 0
    for grid in grids {
      for place in places[start..<start + grid.count] {
        let (row, column) = (taps(place.row, grid.height), taps(place.column, grid.width))
        indices += [
          row.low * side + column.low, row.low * side + column.high, row.high * side + column.low,
          row.high * side + column.high,
        ]
        weights += [
          (1 - row.share) * (1 - column.share), (1 - row.share) * column.share, row.share * (1 - column.share),
          row.share * column.share,
        ]
      }
      start += grid.count
    }
    return (indices, weights)
  }
}

/// Runs of patches that see each other, one after another.
struct VisionSegments {
  /// Runs of one length stand together in this order; nil: they do already.
  private let order: Tensor?
  private let inverse: Tensor?
  private let groups: [(count: Int, length: Int)]

  init(_ lengths: [Int], device: Device) {
    var starts: [Int: [Int]] = [:]
    var start = 0
    for length in lengths {
      starts[length, default: []].append(start)
      start += length
    }
    let sorted = starts.sorted { $0.key < $1.key }
    groups = sorted.map { ($0.value.count, $0.key) }
    guard sorted.count > 1 else {
      (order, inverse) = (nil, nil)
      return
    }
    let rows = sorted.flatMap { length, starts in starts.flatMap { $0..<$0 + length } }
    var places = [Int](repeating: 0, count: rows.count)
    for (place, row) in rows.enumerated() { places[row] = place }
    (order, inverse) = (Tensor(rows).to(device: device), Tensor(places).to(device: device))
  }

  /// Query, key and value `[patches, heads, dimension]` → `[patches, heads · dimension]`
  func attend(_ query: Tensor, _ key: Tensor, _ value: Tensor) -> Tensor {
    let (query, key, value) = (ordered(query), ordered(key), ordered(value))
    let (heads, dimension) = (query.size(1), query.size(2))
    var start = 0
    let parts = groups.map { count, length in
      func part(_ tensor: Tensor) -> Tensor {
        tensor.narrow(0, start: start, length: count * length).unflatten(0, sizes: [count, length]).transpose(1, dim1: 2)
      }
      defer { start += count * length }
      return part(query).scaledDotProductAttention(part(key), value: part(value)).transpose(1, dim1: 2)
        .reshape([count * length, heads * dimension])
    }
    let joined = parts.count == 1 ? parts[0] : Tensor.cat(parts, dim: 0)
    return inverse.map { joined.indexSelect(0, index: $0) } ?? joined
  }

  private func ordered(_ rows: Tensor) -> Tensor { order.map { rows.indexSelect(0, index: $0) } ?? rows }
}
