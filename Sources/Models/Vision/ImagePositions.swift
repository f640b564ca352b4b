import Images

/// Positions in time, height and width of a sequence with pictures in it, and where those stand.
///
/// Text goes on by one in all three; a picture's tokens have the time at which it comes, and its rows and columns from there
/// on; what follows begins after the longer side.
public struct ImagePositions: Sendable, Equatable {
  /// `[3][tokens]`
  public private(set) var axes: [[Int]] = [[], [], []]
  /// Tokens of each picture.
  public private(set) var images: [Range<Int>] = []
  /// What is added to the place of a token after the last picture to get its positions.
  public private(set) var delta = 0

  /// - Parameter grids: of the pictures, in the order of their tokens.
  /// - Throws: `ModelError` when tokens and pictures are not as many.
  public init(tokens: some Sequence<Int>, grids: [ImageGrid], _ vision: VisionConfiguration) throws(ModelError) {
    let tokens = Array(tokens)
    var (place, next, image) = (0, 0, 0)
    while place < tokens.count {
      guard tokens[place] == vision.imageToken, image < grids.count else {
        for axis in 0..<3 { axes[axis].append(next) }
        (place, next) = (place + 1, next + 1)
        continue
      }
      let grid = grids[image]
      let (rows, columns) = (grid.height / vision.mergeSize, grid.width / vision.mergeSize)
      let range = place..<place + grid.time * rows * columns
      guard range.upperBound <= tokens.count, tokens[range].allSatisfy({ $0 == vision.imageToken }) else {
        let found = tokens[place...].prefix { $0 == vision.imageToken }.count
        throw ModelError(
          "picture \(image) takes \(range.count) tokens, but only \(found) stand for it at position \(place) of the prompt")
      }
      for time in 0..<grid.time {
        for row in 0..<rows {
          for column in 0..<columns {
            axes[0].append(next + time)
            axes[1].append(next + row)
            axes[2].append(next + column)
          }
        }
      }
      images.append(range)
      (place, next, image) = (range.upperBound, next + max(rows, columns, grid.time), image + 1)
    }
    guard image == grids.count else {
      throw ModelError("there are \(grids.count) pictures, but the prompt has places for \(image)")
    }
    delta = next - tokens.count
  }

  /// Of a token in the sequence, or of one that is appended to it.
  public func position(axis: Int, of place: Int) -> Int {
    place < axes[axis].count ? axes[axis][place] : place + delta
  }

  /// Which feature each token that stands for a part of a picture is given.
  public var featurePlaces: [Int: Int] {
    Dictionary(uniqueKeysWithValues: images.joined().enumerated().map { ($1, $0) })
  }
}
