import Torch

/// The gated delta rule (Yang et al., "Gated Delta Networks", 2024): a state S of each head, `[keyDimension,
/// valueDimension]`, forgets by α, and what it says of a key k is moved to its value v by the share β; a query q reads it:
///
///     S ← α S;  S ← S + k β (v − kᵀ S)ᵀ;  o = Sᵀ q
///
/// Chunk by chunk: within one, the changes that tokens make to each other's are a triangular system (the UT transform of
/// Yang et al., "Parallelizing Linear Transformers with the Delta Rule", 2024), so that only whole chunks follow each
/// other. With chunks of one token it is the rule as it stands there. All in fp32.
enum GatedDeltaRule {
  /// Of each token and head.
  struct Inputs {
    /// `[T, heads, keyDimension]`, queries scaled.
    let query, key: Tensor
    /// `[T, heads, valueDimension]`
    let value: Tensor
    /// log α, at most 0, and β. `[T, heads]`
    let logDecay, share: Tensor
  }

  /// - Parameters:
  ///   - state: of each sequence before its first token, `[sequences, heads, keyDimension, valueDimension]`; nil: zero.
  ///   - wantsState: whether the states after the last tokens are returned.
  /// - Returns: `[T, heads, valueDimension]`
  static func run(
    _ inputs: Inputs, _ rows: ChunkRows, state: Tensor?, wantsState: Bool
  ) -> (output: Tensor, state: Tensor?) {
    let chunks = Chunks(inputs, rows)
    let (values, reading) = chunks.changes()
    let within = chunks.query.matmul(chunks.key.transpose(2, dim1: 3)) * chunks.pairDecay
    // What a chunk reads of the state before it, and what it leaves to the one after.
    let total = chunks.decay.narrow(2, start: rows.size - 1, length: 1)
    let parts = [
      values, reading, within, chunks.query * chunks.decay.exp().unsqueeze(3),
      (chunks.key * (total - chunks.decay).exp().unsqueeze(3)).transpose(2, dim1: 3), total.exp().unsqueeze(3),
    ].map { $0.splitWithSizes(rows.counts) }
    // Where an operator failed, what it gave is no parts, and fails whatever is made of it.
    guard parts.allSatisfy({ $0.count == rows.counts.count }) else { return (parts[0][0], state) }

    var current = state.map { state in rows.order.map { state.indexSelect(0, index: $0.sequences) } ?? state }
    var (outputs, ended) = ([Tensor](), [Tensor]())
    for (step, count) in rows.counts.enumerated() {
      let (values, reading, within) = (parts[0][step], parts[1][step], parts[2][step])
      if let state = current, state.size(0) > count {
        ended.append(state.narrow(0, start: count, length: state.size(0) - count))
        current = state.narrow(0, start: 0, length: count)
      }
      let written = current.map { values - reading.matmul($0) } ?? values
      let own = within.matmul(written)
      outputs.append(current.map { own + parts[3][step].matmul($0) } ?? own)
      guard wantsState || step + 1 < rows.counts.count else { break }
      let added = parts[4][step].matmul(written)
      current = current.map { $0 * parts[5][step] + added } ?? added
    }
    let cells = Tensor.cat(outputs).transpose(1, dim1: 2).flatten(0, endDim: 1)
    let output = rows.isWhole ? cells : cells.indexSelect(0, index: rows.places)
    guard wantsState, let current else { return (output, nil) }
    let last = ended.isEmpty ? current : Tensor.cat([current] + ended.reversed())
    return (output, rows.order.map { last.indexSelect(0, index: $0.places) } ?? last)
  }

  /// The inputs by chunks; cells that hold no token change nothing.
  private struct Chunks {
    /// `[chunks, heads, size, …]`
    let query, key, value: Tensor
    /// `[chunks, heads, size, 1]`
    let share: Tensor
    /// log of what is left of the state before the chunk at each token. `[chunks, heads, size]`
    let decay: Tensor
    /// What is left at one token of what another one wrote, 0 where that comes later. `[chunks, heads, size, size]`
    let pairDecay: Tensor

    init(_ inputs: Inputs, _ rows: ChunkRows) {
      let (keys, values) = (inputs.key.size(2), inputs.value.size(2))
      var all = Tensor.cat(
        [inputs.query, inputs.key, inputs.value, inputs.share.unsqueeze(2), inputs.logDecay.unsqueeze(2)], dim: 2)
      if rows.areFilled { all = Tensor.cat([all, .zeros([1] + all.shape.dropFirst(), device: all.device)]) }
      if !rows.isWhole { all = all.indexSelect(0, index: rows.cells) }
      let parts = all.unflatten(0, sizes: [-1, rows.size]).transpose(1, dim1: 2)
        .splitWithSizes([keys, keys, values, 1, 1], dim: 3)
      (query, key, value, share) = (parts[0], parts[1], parts[2], parts[3])
      decay = parts[4].squeeze(3).cumsum(2)
      let isLater = Tensor.ones([rows.size, rows.size], dtype: .bool, device: all.device).triu(1)
      pairDecay = (decay.unsqueeze(3) - decay.unsqueeze(2)).maskedFill(isLater, value: -Double.infinity).exp()
    }

    /// What each token writes, were the state before the chunk zero, `[chunks, heads, size, valueDimension]`; and what of
    /// that state is taken from it, by its product with `[chunks, heads, size, keyDimension]`.
    func changes() -> (values: Tensor, reading: Tensor) {
      let shared = key * share
      let system = shared.matmul(key.transpose(2, dim1: 3)) * pairDecay
      let wanted = Tensor.cat([value * share, shared * decay.exp().unsqueeze(3)], dim: 3)
      let solved = system.solveTriangular(wanted, upper: false, unitriangular: true)
        .splitWithSizes([value.size(3), key.size(3)], dim: 3)
      return (solved[0], solved[1])
    }
  }
}

extension ChunkRows {
  /// Whether the cells are the tokens in their order.
  fileprivate var isWhole: Bool { !areFilled && (counts.count == 1 || counts[0] == 1) && order == nil }
}
