import Torch

/// Causal attention whose result for a query depends, to the bit, on that query and on the keys and values up to it alone:
/// the same in training, in a prompt whole or in chunks, and in decoding, whatever else is computed with it.
///
/// Contexts are cut from their first position on into blocks, queries into tiles, of constant lengths; every product is of
/// one tile with one block. A query's blocks are merged in order of position by the running maximum and denominator of its
/// softmax (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). All is computed in fp32, and what a
/// query does not see adds nothing: its exponentials are 0, and the factors beside them 1.
package final class TiledAttention {
  /// Queries of one sequence that follow one another.
  package struct Row {
    let queries: Range<Int>
    let start: Int
    let contexts: [Int]

    /// - Parameters:
    ///   - queries: where they stand in the batch.
    ///   - start: the position of the first.
    ///   - contexts: where the keys and values of all positions up to the last query's stand.
    package init(queries: Range<Int>, start: Int, contexts: [Int]) {
      (self.queries, self.start, self.contexts) = (queries, start, contexts)
    }
  }

  private let rows: [Row]
  private let device: Device
  /// The same for all layers.
  private var tiles: AttentionTiles?

  package init(_ rows: [Row], device: Device) {
    self.rows = rows.filter { !$0.queries.isEmpty }
    self.device = device
  }

  /// Without gradients.
  /// - Parameters:
  ///   - query: `[T, heads, headDimension]`, one for each of the rows' queries.
  ///   - key: `[slots, keyValueHeads, headDimension]`; value likewise, of any dimension.
  /// - Returns: output `[T, heads, valueHeadDimension]`, in `query`'s type; logSumExp `[T, heads]`, fp32.
  package func attend(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, scale: Double
  ) -> (output: Tensor, logSumExp: Tensor) {
    let (heads, keyValueHeads) = (query.size(1), key.size(1))
    let tiles = self.tiles(heads: heads, keyValueHeads: keyValueHeads)
    let (queries, keys, values) = (tiles.queries(query) * scale, tiles.blocks(key).transpose(1, dim1: 2), tiles.blocks(value))
    let shape = queries.shape.dropLast()
    // Below every product, yet finite: differences of it and a product can be taken.
    let maxima = Tensor.full(shape + [1], -1e30, device: device)
    let sums = Tensor.zeros(shape + [1], device: device)
    let outputs = Tensor.zeros(shape + [value.size(2)], device: device)
    for step in tiles.steps {
      let count = step.matrixCount
      let products = queries[0..<count].rowInvariantProducts(keys, step.blocks)
      if let hidden = step.hidden {
        let masked = products.view([count / keyValueHeads, keyValueHeads] + products.shape.dropFirst())
        _ = masked[step.firstMasked..<count / keyValueHeads].maskedFill_(hidden, value: -Double.infinity)
      }
      let (maximum, sum, output) = (maxima[0..<count], sums[0..<count], outputs[0..<count])
      let highest = maximum.maximum(products.amax([2], keepdim: true))
      let weights = products.sub_(highest).exp_()
      let kept = (maximum - highest).exp_()
      _ = sum.mul_(kept).add_(weights.sum([2], keepdim: true))
      _ = output.mul_(kept).add_(weights.rowInvariantProducts(values, step.blocks))
      maximum.copy_(highest)
    }
    return (
      tiles.tokens(outputs / sums).to(dtype: query.dtype), tiles.tokens(maxima + sums.log()).squeeze(2)
    )
  }

  private func tiles(heads: Int, keyValueHeads: Int) -> AttentionTiles {
    if let tiles, tiles.isFor(heads: heads, keyValueHeads: keyValueHeads) { return tiles }
    let made = AttentionTiles(rows, heads: heads, keyValueHeads: keyValueHeads, device: device)
    tiles = made
    return made
  }
}

/// The same as attention of packed sequences for training, with libtorch's gradient.
struct TiledBlockAttention: BlockAttention {
  let tiles: TiledAttention

  func forward(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (output: Tensor, logSumExp: Tensor) {
    precondition(rule.hasPlainScores, "tiles know neither windows nor soft caps")
    return tiles.attend(query, key, value, scale: scale)
  }

  func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, output: Tensor, logSumExp: Tensor,
    _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (query: Tensor, key: Tensor, value: Tensor) {
    RectangleAttention(usesFusedKernel: true).backward(
      gradient, query, key, value, output: output, logSumExp: logSumExp, shape, scale: scale, rule: rule)
  }
}
