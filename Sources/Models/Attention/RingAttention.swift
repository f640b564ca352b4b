import Parallelism
import Torch

/// Causal attention over sequences whose tokens are spread zigzag over the ranks of a group (Liu et al., "Ring Attention",
/// 2023; the zigzag division is Megatron-Core's).
///
/// Rank r holds chunks r and 2·size − 1 − r of each sequence. Keys and values go around the ring; each rank merges its
/// queries' outputs by their log-sum-exps, so no rank ever holds more than two ranks' keys.
public final class RingAttention: AttentionBackend {
  private let group: ProcessGroup
  private let blocks: any BlockAttention
  /// A rank's own tokens among themselves; later queries to an earlier rank's first chunks; second chunks to all of a
  /// later rank's tokens.
  private let own, toFirstChunks, fromSecondChunks: BlockShape
  private let firstChunkRows, secondChunkRows: Tensor
  private let lengths: [Int]
  private let device: Device

  /// - Parameter lengths: tokens of each sequence on this rank, both chunks.
  init(lengths: [Int], group: ProcessGroup, blocks: any BlockAttention, device: Device) {
    precondition(lengths.allSatisfy { $0 % 2 == 0 }, "a rank holds two chunks of each sequence")
    (self.group, self.blocks, self.lengths, self.device) = (group, blocks, lengths, device)
    let halves = lengths.map { $0 / 2 }
    let rank = group.rank, size = group.size
    let both = { (length: Int) in Self.positions(rank, size, length: length) }
    own = BlockShape(
      queryLengths: lengths, keyLengths: lengths, isCausal: true, device: device,
      positions: .init(query: both, key: both))
    toFirstChunks = BlockShape(queryLengths: lengths, keyLengths: halves, isCausal: false, device: device)
    fromSecondChunks = BlockShape(queryLengths: halves, keyLengths: lengths, isCausal: false, device: device)
    var (first, second, start) = ([Int](), [Int](), 0)
    for half in halves {
      first += start..<start + half
      second += start + half..<start + 2 * half
      start += 2 * half
    }
    (firstChunkRows, secondChunkRows) = (Tensor(first).to(device: device), Tensor(second).to(device: device))
  }

  public func attend(
    query: Tensor, key: Tensor, value: Tensor, layer: Int, scale: Double, rule: AttentionRule
  ) -> Tensor {
    let (q, k, v, sinks) = (query.remade, key.remade, value.detached(), rule.sinks?.detached())
    var saved: (output: Tensor, logSumExp: Tensor)?
    return Tensor.function("RingAttention", inputs: [query, key, value] + (rule.sinks.map { [$0] } ?? [])) {
      var result = forward(query.detached(), key.detached(), v, scale, rule)
      if let sinks { result = AttentionSinks.merged(sinks, output: result.output, logSumExp: result.logSumExp) }
      saved = (result.output.detached(), result.logSumExp)
      return [result.output]
    } backward: { [self] gradients in
      guard let gradient = gradients[0], let saved else { return [nil, nil, nil] + (sinks == nil ? [] : [nil]) }
      let (dq, dk, dv) = backward(gradient, q(), k(), v, saved.output, saved.logSumExp, scale, rule)
      return [dq, dk, dv] + (sinks.map {
        [AttentionSinks.gradient($0, by: gradient, output: saved.output, logSumExp: saved.logSumExp)]
      } ?? [])
    }[0]
  }

  /// A state goes along the whole sequence, so every rank gathers all of it, scans it as the others do, and keeps its
  /// own tokens: as much work as without context parallelism, on what is small beside the projections, which stay
  /// divided. Gradients are summed over the ranks on the way back.
  public func recur(_ input: Tensor, parameters: [Tensor], layer: Int, _ scan: @escaping SequenceScan) -> Tensor {
    let whole = input.gatheredFromSequenceParallel(group).indexSelect(0, index: wholeRows.gathered)
    return scan(whole, sequences, nil).output.indexSelect(0, index: wholeRows.own)
  }

  private lazy var sequences = SequenceRows(lengths.map { $0 * group.size }, device: device)

  /// Where each token of the whole sequences stands among all ranks' tokens, and this rank's among those of whole
  /// sequences.
  private lazy var wholeRows: (gathered: Tensor, own: Tensor) = {
    let (size, total) = (group.size, lengths.reduce(0, +))
    var (gathered, own, start) = ([Int](), [Int](), 0)
    for length in lengths {
      let half = length / 2
      own += Self.positions(group.rank, size, length: length).map { start * size + $0 }
      for chunk in 0..<2 * size {
        let first = chunk < size ? chunk * total + start : (2 * size - 1 - chunk) * total + start + half
        gathered += first..<first + half
      }
      start += length
    }
    return (Tensor(gathered).to(device: device), Tensor(own).to(device: device))
  }()

  private func forward(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ scale: Double, _ rule: AttentionRule
  ) -> (output: Tensor, logSumExp: Tensor) {
    let blocks = blocks(for: rule)
    let first = blocks.forward(query, key, value, own, scale: scale, rule: rule)
    let (output, logSumExp) = (first.output.to(dtype: .float32, copy: true), first.logSumExp)
    let laterQueries = query.indexSelect(0, index: secondChunkRows)
    forEachOther(key, value) { source, key, value in
      if source < group.rank {
        let part = blocks.forward(
          query, key.indexSelect(0, index: firstChunkRows), value.indexSelect(0, index: firstChunkRows),
          shape(from: source, rule), scale: scale, rule: rule)
        merge(part, into: output, logSumExp)
      } else {
        let part = blocks.forward(laterQueries, key, value, shape(from: source, rule), scale: scale, rule: rule)
        let laterOutput = output.indexSelect(0, index: secondChunkRows)
        let laterLogSumExp = logSumExp.indexSelect(0, index: secondChunkRows)
        merge(part, into: laterOutput, laterLogSumExp)
        output.indexCopy_(0, index: secondChunkRows, source: laterOutput)
        logSumExp.indexCopy_(0, index: secondChunkRows, source: laterLogSumExp)
      }
    }
    return (output.to(dtype: query.dtype), logSumExp)
  }

  /// Adds a block's result to what is there: each weighs as much as its softmax denominator.
  private func merge(_ part: (output: Tensor, logSumExp: Tensor), into output: Tensor, _ logSumExp: Tensor) {
    let maximum = logSumExp.maximum(part.logSumExp)
    let merged = maximum + ((logSumExp - maximum).exp() + (part.logSumExp - maximum).exp()).log()
    output.mul_((logSumExp - merged).exp().unsqueeze(2))
    output.add_(part.output.to(dtype: .float32) * (part.logSumExp - merged).exp().unsqueeze(2))
    logSumExp.copy_(merged)
  }

  private func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, _ output: Tensor, _ logSumExp: Tensor,
    _ scale: Double, _ rule: AttentionRule
  ) -> (Tensor, Tensor, Tensor) {
    let blocks = blocks(for: rule)
    func wide(_ tensor: Tensor) -> Tensor { tensor.to(dtype: .float32, copy: true) }
    func later(_ rows: Tensor) -> Tensor { rows.indexSelect(0, index: secondChunkRows) }
    let first = blocks.backward(gradient, query, key, value, output: output, logSumExp: logSumExp, own, scale: scale, rule: rule)
    let byQuery = wide(first.query)
    // The gradients of keys and values travel with them, and come home after a full round.
    var traveling = pack(wide(first.key), wide(first.value))
    forEachOther(key, value) { source, key, value in
      traveling = rotated(traveling)
      let (byKey, byValue) = unpack(traveling, key, value)
      if source < group.rank {
        let part = blocks.backward(
          gradient, query, key.indexSelect(0, index: firstChunkRows), value.indexSelect(0, index: firstChunkRows),
          output: output, logSumExp: logSumExp, shape(from: source, rule), scale: scale, rule: rule)
        byQuery.add_(part.query)
        byKey.indexAdd_(0, index: firstChunkRows, source: wide(part.key))
        byValue.indexAdd_(0, index: firstChunkRows, source: wide(part.value))
      } else {
        let part = blocks.backward(
          later(gradient), later(query), key, value, output: later(output), logSumExp: later(logSumExp),
          shape(from: source, rule), scale: scale, rule: rule)
        byQuery.indexAdd_(0, index: secondChunkRows, source: wide(part.query))
        byKey.add_(part.key)
        byValue.add_(part.value)
      }
    }
    let (byKey, byValue) = unpack(rotated(traveling), key, value)
    return (byQuery.to(dtype: query.dtype), byKey.to(dtype: key.dtype), byValue.to(dtype: value.dtype))
  }

  // MARK: Windows

  /// Windows between chunks at any distance and soft caps are for plain operators.
  private func blocks(for rule: AttentionRule) -> any BlockAttention {
    rule.hasPlainScores ? blocks : RectangleAttention(usesFusedKernel: false)
  }

  /// The positions that a rank holds of a sequence: its two chunks.
  private static func positions(_ rank: Int, _ size: Int, length: Int) -> [Int] {
    [rank, 2 * size - 1 - rank].flatMap { chunk in chunk * (length / 2)..<(chunk + 1) * (length / 2) }
  }

  private var windowedShapes: [Int: BlockShape] = [:]

  /// Of the block between this rank's queries and the keys of another; with a window it matters how far they are apart.
  private func shape(from source: Int, _ rule: AttentionRule) -> BlockShape {
    let isEarlier = source < group.rank
    guard rule.window != nil else { return isEarlier ? toFirstChunks : fromSecondChunks }
    if let known = windowedShapes[source] { return known }
    let (rank, size) = (group.rank, group.size)
    let halves = lengths.map { $0 / 2 }
    let shape = isEarlier
      ? BlockShape(
        queryLengths: lengths, keyLengths: halves, isCausal: false, device: device,
        positions: .init(query: { Self.positions(rank, size, length: $0) }, key: { Array(source * $0..<(source + 1) * $0) }))
      : BlockShape(
        queryLengths: halves, keyLengths: lengths, isCausal: false, device: device,
        positions: .init(
          query: { Array((2 * size - 1 - rank) * $0..<(2 * size - rank) * $0) },
          key: { Self.positions(source, size, length: $0) }))
    windowedShapes[source] = shape
    return shape
  }

  // MARK: The ring

  /// Calls `body` with the keys and values of every other rank, nearest before first; the next ones are under way
  /// meanwhile.
  private func forEachOther(_ key: Tensor, _ value: Tensor, _ body: (_ source: Int, Tensor, Tensor) -> Void) {
    var (current, work) = startRotation(pack(key, value))
    for step in 1..<group.size {
      work.wait()
      let arrived = current
      if step + 1 < group.size { (current, work) = startRotation(arrived) }
      let (key, value) = unpack(arrived, key, value)
      body((group.rank - step + group.size) % group.size, key, value)
    }
  }

  /// Keys and values `[T, keyValueHeads, d]`, of any d each → `[T, width]`
  private func pack(_ key: Tensor, _ value: Tensor) -> Tensor {
    Tensor.cat([key.flatten(1), value.flatten(1)], dim: 1)
  }

  /// Views of a packed tensor in the shapes of key and value.
  private func unpack(_ packed: Tensor, _ key: Tensor, _ value: Tensor) -> (Tensor, Tensor) {
    let parts = packed.splitWithSizes([key.size(1) * key.size(2), value.size(1) * value.size(2)], dim: 1)
    return (
      parts[0].unflatten(1, sizes: [key.size(1), key.size(2)]), parts[1].unflatten(1, sizes: [value.size(1), value.size(2)])
    )
  }

  private func rotated(_ tensor: Tensor) -> Tensor {
    let (result, work) = startRotation(tensor)
    work.wait()
    return result
  }

  /// To the next rank, from the previous one.
  private func startRotation(_ tensor: Tensor) -> (Tensor, Work) {
    let result = Tensor.empty(tensor.shape, dtype: tensor.dtype, device: tensor.device)
    func splits(_ partner: Int) -> [Int] { (0..<group.size).map { $0 == partner ? tensor.size(0) : 0 } }
    let work = group.startAllToAll(
      tensor, into: result, inputSplits: splits((group.rank + 1) % group.size),
      outputSplits: splits((group.rank + group.size - 1) % group.size))
    return (result, work)
  }
}
