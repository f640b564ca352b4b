import Parallelism
import Torch

/// The attention of training: over whole sequences, or over the context-parallel ranks' parts of them.
/// - Parameter lengths: tokens of each sequence on this rank.
public func trainingAttention(lengths: [Int], parallel: ParallelContext) -> any AttentionBackend {
  guard parallel.context.size > 1 else { return PackedAttention(lengths: lengths, device: parallel.device) }
  // FlashAttention knows half precision only; which it is shows with the first query.
  return RingAttention(
    lengths: lengths, group: parallel.context, blocks: TrainingBlocks(device: parallel.device), device: parallel.device)
}

/// The fastest kernel that takes the queries.
private struct TrainingBlocks: BlockAttention {
  let device: Device

  private func kernel(_ query: Tensor) -> any BlockAttention {
    device.kind == .cuda && query.dtype != .float32 ? FlashBlockAttention() : RectangleAttention()
  }

  func forward(_ query: Tensor, _ key: Tensor, _ value: Tensor, _ shape: BlockShape) -> (output: Tensor, logSumExp: Tensor) {
    kernel(query).forward(query, key, value, shape)
  }

  func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, output: Tensor, logSumExp: Tensor,
    _ shape: BlockShape
  ) -> (query: Tensor, key: Tensor, value: Tensor) {
    kernel(query).backward(gradient, query, key, value, output: output, logSumExp: logSumExp, shape)
  }
}

/// Causal attention over sequences packed one after another, for training and scoring.
///
/// On a GPU in half precision: FlashAttention-2's variable-length kernel. Elsewhere sequences of similar length are padded
/// to rectangles; padding stands behind every real token, so the causal mask alone keeps it out.
public final class PackedAttention: AttentionBackend {
  private let lengths: [Int]
  private let device: Device
  private lazy var shape = BlockShape(queryLengths: lengths, keyLengths: lengths, isCausal: true, device: device)
  private lazy var rectangles = Rectangle.covering(lengths, device: device)

  /// - Parameter lengths: tokens of each sequence, in their order.
  public init(lengths: [Int], device: Device) { (self.lengths, self.device) = (lengths, device) }

  public func attend(query: Tensor, key: Tensor, value: Tensor, layer: Int) -> Tensor {
    if device.kind == .cuda, query.dtype != .float32 {
      return FlashBlockAttention().attend(query, key, value, shape)
    }
    let outputs = rectangles.map { $0.attend(query, key, value) }
    let inOrder = outputs.count == 1 ? outputs[0] : Tensor.cat(outputs, dim: 0)
    return inOrder.indexSelect(0, index: order)
  }

  /// Where each token's output stands among the rectangles' outputs.
  private lazy var order: Tensor = {
    let positions = rectangles.flatMap(\.tokens)
    var place = [Int](repeating: 0, count: positions.count)
    for (index, position) in positions.enumerated() { place[position] = index }
    return Tensor(place).to(device: device)
  }()
}

/// Some sequences of similar length as rows of one batch.
private struct Rectangle {
  let count: Int
  let length: Int
  /// Positions in the pack of this rectangle's real tokens, row by row.
  let tokens: [Int]
  /// For each cell the token that fills it (a padding cell repeats the row's first), and for each real token its cell.
  let cells: Tensor
  let realCells: Tensor

  static func covering(_ lengths: [Int], device: Device) -> [Rectangle] {
    var starts: [Int] = []
    var total = 0
    for length in lengths {
      starts.append(total)
      total += length
    }
    let order = lengths.indices.filter { lengths[$0] > 0 }.sorted { lengths[$0] > lengths[$1] }
    var result: [Rectangle] = []
    var rest = order[...]
    while let longest = rest.first {
      // At most a quarter of the longest row is padding, short rows excepted.
      let members = rest.prefix { lengths[$0] * 4 >= lengths[longest] * 3 || lengths[longest] <= 32 }
      rest = rest.dropFirst(members.count)
      result.append(Rectangle(members.map { starts[$0]..<starts[$0] + lengths[$0] }, device: device))
    }
    return result
  }

  init(_ rows: [Range<Int>], device: Device) {
    count = rows.count
    length = rows[0].count
    tokens = rows.flatMap { Array($0) }
    var cells: [Int] = []
    var realCells: [Int] = []
    for (row, range) in rows.enumerated() {
      cells += range
      cells += Array(repeating: range.lowerBound, count: length - range.count)
      realCells += row * length..<row * length + range.count
    }
    self.cells = Tensor(cells).to(device: device)
    self.realCells = Tensor(realCells).to(device: device)
  }

  /// Outputs of the real tokens, in `tokens`' order.
  func attend(_ query: Tensor, _ key: Tensor, _ value: Tensor) -> Tensor {
    func batch(_ heads: Tensor) -> Tensor {
      heads.indexSelect(0, index: cells).view([count, length, heads.size(1), heads.size(2)]).transpose(1, dim1: 2)
    }
    let output = batch(query).scaledDotProductAttention(
      batch(key), value: batch(value), isCausal: true, enableGqa: query.size(1) != key.size(1))
    return output.transpose(1, dim1: 2).reshape([count * length, query.size(1), query.size(2)])
      .indexSelect(0, index: realCells)
  }
}
