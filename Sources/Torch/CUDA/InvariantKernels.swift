import CTorch

/// Kernels whose result for a row is the same bits whatever other rows stand beside it: what deterministic mode runs on a GPU.
extension Kernels {
  /// Whether `invariantLinear` takes them: bf16 on a GPU, in sizes of which 16 bytes can be read at a time.
  static func multipliesInvariantly(_ input: Tensor, _ weight: Tensor) -> Bool {
    input.device.kind == .cuda && run(on: input.device, input.dtype) && weight.dtype == input.dtype
      && weight.size(0) % 8 == 0 && weight.size(1) % 8 == 0
  }

  /// x Wᵀ by cuBLASLt's kernels that all sum in one order; without gradients. `[T, inputs]`, `[outputs, inputs]` →
  /// `[T, outputs]`
  static func invariantLinear(_ input: Tensor, _ weight: Tensor) -> Tensor {
    let (input, weight) = (input.contiguous(), weight.contiguous())
    return withExtendedLifetime((input, weight)) { Tensor(owned: table.invariant_linear(input.handle, weight.handle)) }
  }

  /// Rows that `fewRowsLinear` may take where it is invariant, and numbers of one that it norms.
  private static let mostInvariantRows = (rows: 16, normed: 8192)

  /// Whether `fewRowsLinear` multiplies so many rows with a weight in the bits of `rowInvariantLinear`.
  /// - Parameter rows: what it may norm before, `[rows, width]`.
  public static func multiplyFewRowsInvariantly(_ rows: Tensor, _ weight: Tensor) -> Bool {
    let count = rows.size(0)
    guard 1...mostInvariantRows.rows ~= count, rows.size(1) <= mostInvariantRows.normed, multipliesInvariantly(rows, weight)
    else { return false }
    return withExtendedLifetime(weight) { count <= Int(checked(table.invariant_few_rows(weight.handle))) }
  }

  /// Causal attention of packed sequences.
  /// - Parameters:
  ///   - query: `[T, heads, dimension]`
  ///   - keys: `[slots or tokens, keyValueHeads, dimension]`, as `values`.
  /// - Returns: `[T, heads, dimension]`, and the logs of the softmax denominators, `[T, heads]`, fp32.
  public static func invariantAttention(
    query: Tensor, keys: Tensor, values: Tensor, _ sequences: InvariantSequences, scale: Double
  ) -> (output: Tensor, logSumExp: Tensor) {
    let (query, keys, values) = (query.withWholeRows(), keys.withWholeRows(), values.withWholeRows())
    return withExtendedLifetime((query, keys, values, sequences)) {
      pair {
        table.invariant_attention(
          query.handle, keys.handle, values.handle, sequences.places.handle, sequences.tiles.handle, sequences.pages?.handle,
          scale, Int32(sequences.pageSize), &$0, &$1)
      }
    }
  }
}

/// Where packed sequences have their queries, keys and values, for `invariantAttention`.
public final class InvariantSequences {
  public struct Sequence {
    /// Rows of the queries.
    public let queries: Range<Int>
    /// The first query's place in the sequence; all before it is seen, too.
    let start: Int
    /// The row of the sequence's first key, where no pages say it.
    let firstKey: Int

    public init(queries: Range<Int>, start: Int = 0, firstKey: Int = 0) {
      (self.queries, self.start, self.firstKey) = (queries, start, firstKey)
    }
  }

  /// Of each: row of the first query, queries, the first one's place, row of the first key. `[sequences, 4]`, int32
  let places: Tensor
  /// What one block computes: a sequence, and the first of its queries. `[tiles, 2]`, int32
  let tiles: Tensor
  /// `[sequences, pages]`, int32; nil: keys lie one after another.
  let pages: Tensor?
  let pageSize: Int

  /// - Parameters:
  ///   - pages: of each sequence, of `pageSize` slots.
  ///   - headDimension: one of `Kernels.headDimensions`.
  public init(_ sequences: [Sequence], pages: [[Int]]? = nil, pageSize: Int = 1, headDimension: Int, device: Device) {
    let queriesAtOnce = headDimension > 128 ? 64 : 128
    // The longest contexts first: what is begun last, with nothing left to do beside it, should be short.
    let tiles = sequences.indices.flatMap { index in
      stride(from: 0, to: sequences[index].queries.count, by: queriesAtOnce).map { (sequence: index, query: $0) }
    }.sorted { sequences[$0.sequence].start + $0.query > sequences[$1.sequence].start + $1.query }
    func table(_ rows: [[Int]], _ width: Int) -> Tensor {
      Tensor(rows.joined().map { Int32($0) }, shape: [rows.count, width]).sent(to: device)
    }
    places = table(sequences.map { [$0.queries.lowerBound, $0.queries.count, $0.start, $0.firstKey] }, 4)
    self.tiles = table(tiles.map { [$0.sequence, $0.query] }, 2)
    self.pages = pages.map { PageTable.rectangle($0).sent(to: device) }
    self.pageSize = pageSize
  }
}

extension Tensor {
  /// Itself where each row of `[rows, heads, dimension]` lies in one piece and begins where 16 bytes can be read; else a copy.
  fileprivate func withWholeRows() -> Tensor {
    let strides = strides
    let isWhole = strides[2] == 1 && strides[1] == size(2) && strides[0] % 8 == 0
    return isWhole ? self : contiguous()
  }
}
