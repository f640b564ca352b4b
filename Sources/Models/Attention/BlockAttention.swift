import Torch

/// Attention of some queries to some keys, sequence by sequence, with what is needed to merge it with that to other keys:
/// the log of each query's softmax denominator. No autograd: rings of blocks have a gradient of their own.
protocol BlockAttention {
  /// - Parameters:
  ///   - query: `[Tq, heads, headDimension]`; key `[Tk, keyValueHeads, headDimension]`; value likewise, of any dimension.
  ///   - scale: what products of queries and keys are multiplied by.
  ///   - rule: its sinks are merged with the blocks' results, not by them.
  /// - Returns: output `[Tq, heads, valueHeadDimension]`, in `query`'s type; logSumExp `[Tq, heads]`, fp32.
  func forward(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (output: Tensor, logSumExp: Tensor)

  /// - Parameters:
  ///   - output: of all blocks that the queries see, merged; `logSumExp` likewise.
  /// - Returns: this block's part of the gradients.
  func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, output: Tensor, logSumExp: Tensor,
    _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (query: Tensor, key: Tensor, value: Tensor)
}

extension BlockAttention {
  /// One block alone, with its gradient.
  func attend(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> Tensor {
    let (q, k, v, sinks) = (query.remade, key.remade, value.detached(), rule.sinks?.detached())
    var saved: (output: Tensor, logSumExp: Tensor)?
    return Tensor.function("BlockAttention", inputs: [query, key, value] + (rule.sinks.map { [$0] } ?? [])) {
      var result = forward(query.detached(), key.detached(), v, shape, scale: scale, rule: rule)
      if let sinks { result = AttentionSinks.merged(sinks, output: result.output, logSumExp: result.logSumExp) }
      saved = (result.output.detached(), result.logSumExp)
      return [result.output]
    } backward: { gradients in
      guard let gradient = gradients[0], let saved else { return [nil, nil, nil] + (sinks == nil ? [] : [nil]) }
      let (dq, dk, dv) = backward(
        gradient, q(), k(), v, output: saved.output, logSumExp: saved.logSumExp, shape, scale: scale, rule: rule)
      return [dq, dk, dv] + (sinks.map {
        [AttentionSinks.gradient($0, by: gradient, output: saved.output, logSumExp: saved.logSumExp)]
      } ?? [])
    }[0]
  }
}

/// Which rows belong together: sequence s has `queryLengths[s]` queries and `keyLengths[s]` keys, packed in order.
final class BlockShape {
  let queryLengths: [Int]
  let keyLengths: [Int]
  /// Query i of a sequence sees keys up to i; otherwise all of them.
  let isCausal: Bool
  private let device: Device
  private let positions: Positions

  /// Which positions of its sequence a block's rows have, by how many there are: sequences of equal lengths are divided
  /// alike.
  struct Positions {
    var query: (_ length: Int) -> [Int] = { Array(0..<$0) }
    var key: (_ length: Int) -> [Int] = { Array(0..<$0) }
  }

  init(
    queryLengths: [Int], keyLengths: [Int], isCausal: Bool, device: Device, positions: Positions = Positions()
  ) {
    (self.queryLengths, self.keyLengths, self.isCausal, self.device) = (queryLengths, keyLengths, isCausal, device)
    self.positions = positions
  }

  private struct HiddenKeys: Hashable { let queryLength, keyLength: Int, window: Int? }
  private var hiddenKeys: [HiddenKeys: Tensor] = [:]

  /// Bool `[queries, keys]`, true where a query of the rectangle does not see a key; nil: it sees all.
  func hidden(_ rectangle: Rectangle, window: Int?) -> Tensor? {
    guard isCausal || window != nil else { return nil }
    let key = HiddenKeys(queryLength: rectangle.queryLength, keyLength: rectangle.keyLength, window: window)
    if let known = hiddenKeys[key] { return known }
    let hidden: Tensor
    if let window {
      let queries = Tensor(positions.query(key.queryLength)).to(device: device).unsqueeze(1)
      let keys = Tensor(positions.key(key.keyLength)).to(device: device).unsqueeze(0)
      hidden = keys.gt(queries).logicalOr(keys.le(queries - window))
    } else {
      hidden = Tensor.ones([key.queryLength, key.keyLength], dtype: .bool, device: device).triu(1)
    }
    hiddenKeys[key] = hidden
    return hidden
  }

  /// Sequences of the same lengths, as a rectangle.
  struct Rectangle {
    let count: Int
    let queryLength: Int
    let keyLength: Int
    /// Where their rows stand, sequence by sequence; int64.
    let queryRows: Tensor
    let keyRows: Tensor
  }

  lazy var rectangles: [Rectangle] = {
    struct Lengths: Hashable { let query, key: Int }
    var order: [Lengths] = []
    var rows: [Lengths: (query: [Int], key: [Int], count: Int)] = [:]
    var (queryStart, keyStart) = (0, 0)
    for (query, key) in zip(queryLengths, keyLengths) {
      defer { (queryStart, keyStart) = (queryStart + query, keyStart + key) }
      guard query > 0 else { continue }
      let lengths = Lengths(query: query, key: key)
      if rows[lengths] == nil { order.append(lengths) }
      rows[lengths, default: ([], [], 0)].query += queryStart..<queryStart + query
      rows[lengths]!.key += keyStart..<keyStart + key
      rows[lengths]!.count += 1
    }
    return order.map { lengths in
      let found = rows[lengths]!
      return Rectangle(
        count: found.count, queryLength: lengths.query, keyLength: lengths.key,
        queryRows: Tensor(found.query).to(device: device), keyRows: Tensor(found.key).to(device: device))
    }
  }()

  /// The sequences, packed one after another, where queries and keys are the same tokens.
  var rows: [TiledAttention.Row] {
    var start = 0
    return queryLengths.map { length in
      defer { start += length }
      return TiledAttention.Row(queries: start..<start + length, start: 0, contexts: Array(start..<start + length))
    }
  }

  /// `[sequences + 1]`, int32: where each sequence's rows begin, and the end.
  lazy var cumulativeQueries = Self.cumulative(queryLengths, device)
  lazy var cumulativeKeys = Self.cumulative(keyLengths, device)

  /// As cuDNN is told of them.
  lazy var sequences: (queries: CuDNNAttention.Sequences, keys: CuDNNAttention.Sequences) = {
    // Of short ones it has no kernels but with lengths.
    let isEven = Set(queryLengths).count == 1 && Set(keyLengths).count == 1 && min(queryLengths[0], keyLengths[0]) >= 128
    return (
      CuDNNAttention.Sequences(lengths: queryLengths, isEven: isEven, device: device),
      CuDNNAttention.Sequences(lengths: keyLengths, isEven: isEven, device: device)
    )
  }()

  private static func cumulative(_ lengths: [Int], _ device: Device) -> Tensor {
    Tensor(lengths.reduce(into: [Int32(0)]) { $0.append($0.last! + Int32($1)) }).to(device: device)
  }
}
