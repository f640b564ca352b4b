import Torch

/// Causal attention over sequences packed one after another, for training and scoring.
///
/// FlashAttention and cuDNN take them as they are. For the other implementations sequences of similar length are padded to
/// rectangles; padding stands behind every real token, so the causal mask alone keeps it out.
public final class PackedAttention: AttentionBackend {
  private let lengths: [Int]
  private let device: Device
  private let implementation: AttentionImplementation
  private let isDeterministic: Bool
  private lazy var shape = BlockShape(queryLengths: lengths, keyLengths: lengths, isCausal: true, device: device)
  private lazy var tiles = TiledAttention(shape.rows, device: device)
  private lazy var sequences = SequenceRows(lengths, device: device)
  private lazy var rectangles = Rectangle.covering(lengths, device: device)

  private var knownSequences: [Int: InvariantSequences] = [:]

  /// - Parameters:
  ///   - lengths: tokens of each sequence, in their order.
  ///   - implementation: one that was `checked` for the device and the type of what comes.
  ///   - isDeterministic: whether a token's result is the same bits whatever sequences stand beside its own.
  public init(
    lengths: [Int], device: Device, implementation: AttentionImplementation = .sdpa, isDeterministic: Bool = false
  ) {
    (self.lengths, self.device, self.implementation) = (lengths, device, implementation)
    self.isDeterministic = isDeterministic
  }

  public func attend(
    query: Tensor, key: Tensor, value: Tensor, layer: Int, scale: Double, rule: AttentionRule
  ) -> Tensor {
    let dimensions = (query.size(2), value.size(2))
    if isDeterministic, rule.isPlain,
      Kernels.attend(on: device, query.dtype, dimension: dimensions.0, valueDimension: dimensions.1)
    {
      return InvariantBlockAttention(sequences: invariantSequences(dimensions.0))
        .attend(query, key, value, shape, scale: scale, rule: rule)
    }
    if implementation == .flashAttention2, rule.softCap == nil {
      return FlashBlockAttention(leastMaxQuery: isDeterministic ? 2 : 0)
        .attend(query, key, value, shape, scale: scale, rule: rule)
    }
    if implementation == .cudnn, rule.softCap == nil {
      return CuDNNBlockAttention().attend(query, key, value, shape, scale: scale, rule: rule)
    }
    guard rule.isPlain else {
      // Kernels that keep the log-sum-exps to themselves do not know sinks either.
      return RectangleAttention(usesFusedKernel: implementation != .eager)
        .attend(query, key, value, shape, scale: scale, rule: rule)
    }
    if isDeterministic, device.kind != .meta {
      return TiledBlockAttention(tiles: tiles).attend(query, key, value, shape, scale: scale, rule: rule)
    }
    let outputs = rectangles.map { $0.attend(query, key, value) { kernel($0, $1, $2, scale) } }
    let inOrder = outputs.count == 1 ? outputs[0] : Tensor.cat(outputs, dim: 0)
    return inOrder.indexSelect(0, index: order)
  }

  public func recur(_ input: Tensor, parameters: [Tensor], layer: Int, _ scan: @escaping SequenceScan) -> Tensor {
    scan(input, sequences, nil).output
  }

  private func invariantSequences(_ headDimension: Int) -> InvariantSequences {
    if let known = knownSequences[headDimension] { return known }
    let sequences = InvariantSequences(
      shape.rows.map { .init(queries: $0.queries, firstKey: $0.queries.lowerBound) }, headDimension: headDimension,
      device: device)
    knownSequences[headDimension] = sequences
    return sequences
  }

  /// Causal attention of `[B, heads, T, d]`.
  private func kernel(_ query: Tensor, _ key: Tensor, _ value: Tensor, _ scale: Double) -> Tensor {
    let groups = query.size(1) / key.size(1)
    switch implementation {
    case .eager:
      return EagerAttention.attend(query, key.repeatingHeads(groups), value.repeatingHeads(groups), isCausal: true, scale: scale)
    case .sdpa where query.device.kind == .meta && query.size(3) == value.size(3):
      // Libtorch would take plain operators there; no device with memory does.
      return query.scaledDotProductFlashAttentionForCpu(key, value: value, isCausal: true, scale: scale).output
    case .sdpa, .flashAttention2, .cudnn:
      return query.scaledDotProductAttention(key, value: value, isCausal: true, scale: scale, enableGqa: groups > 1)
    case .flashAttention3: preconditionFailure("flash_attention_3 was not checked")
    }
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
  func attend(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ kernel: (Tensor, Tensor, Tensor) -> Tensor
  ) -> Tensor {
    func batch(_ heads: Tensor) -> Tensor {
      heads.indexSelect(0, index: cells).view([count, length, heads.size(1), heads.size(2)]).transpose(1, dim1: 2)
    }
    let output = kernel(batch(query), batch(key), batch(value))
    return output.transpose(1, dim1: 2).reshape([count * length, query.size(1), value.size(2)])
      .indexSelect(0, index: realCells)
  }
}
