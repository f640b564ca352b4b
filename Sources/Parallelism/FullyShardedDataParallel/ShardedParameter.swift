import Torch

/// How one parameter is split over the ranks of a group, as in FSDP2: along dimension 0, into equally many rows a rank,
/// padded at the end.
public struct ShardedParameter {
  public let parameter: Parameter
  /// The size of dimension 0, and numbers in each row.
  public let rowCount: Int
  public let width: Int
  /// Of each rank, padding included.
  let rowsPerRank: Int
  /// Where the rank's rows begin in its shard, in elements.
  let offset: Int

  init(_ parameter: Parameter, rankCount: Int, offset: Int) {
    (self.parameter, self.offset) = (parameter, offset)
    rowCount = parameter.shape[0]
    width = parameter.shape.dropFirst().reduce(1, *)
    rowsPerRank = (rowCount + rankCount - 1) / rankCount
  }

  /// Elements in each rank's shard, padding included.
  var length: Int { rowsPerRank * width }

  /// The rows that a rank holds, without padding.
  func rows(of rank: Int) -> Range<Int> {
    min(rank * rowsPerRank, rowCount)..<min((rank + 1) * rowsPerRank, rowCount)
  }

  /// Where they lie in the rank's shard.
  func range(of rank: Int) -> Range<Int> { offset..<offset + rows(of: rank).count * width }

  /// A rank's rows in a vector laid out as its shard, as a view. `[rows, …]`
  func rows(of rank: Int, in shard: Tensor) -> Tensor {
    shard[range(of: rank)].view([rows(of: rank).count] + parameter.shape.dropFirst())
  }

  /// Views of the same numbers in the whole parameter and in all ranks' shards.
  /// - Parameters:
  ///   - whole: contiguous.
  ///   - shards: `[ranks, shard length]`
  func places(in whole: Tensor, and shards: Tensor) -> [(whole: Tensor, shards: Tensor)] {
    let flat = whole.view([rowCount * width])
    // The first ranks hold rows only, the next one some, the others none.
    let fullRanks = rowCount / max(rowsPerRank, 1)
    let (split, rest) = (fullRanks * length, rowCount * width - fullRanks * length)
    var places: [(Tensor, Tensor)] = []
    if split > 0 {
      places.append((
        flat[0..<split].view([fullRanks, length]), shards[0..<fullRanks].narrow(1, start: offset, length: length)
      ))
    }
    if rest > 0 { places.append((flat[split..<split + rest], shards[fullRanks].narrow(0, start: offset, length: rest))) }
    return places
  }
}
