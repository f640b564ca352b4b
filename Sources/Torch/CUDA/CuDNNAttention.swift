import CTorch

/// cuDNN's attention over packed sequences in half precision: fast on GPUs from Hopper on.
public enum CuDNNAttention {
  /// Sequences packed one after another, with what the calls are told of them.
  ///
  /// Plans cost some 0.1 s each and are kept by sizes; numbers of sequences and their lengths are rounded up, so that
  /// there are few.
  public struct Sequences {
    fileprivate let count: Int
    fileprivate let longest: Int
    fileprivate let total: Int
    /// nil where all are as long as the longest.
    fileprivate let starts: Tensor?
    fileprivate let lengths: Tensor?

    /// - Parameters:
    ///   - isEven: whether all sequences that are attended together have one length, here and on the other side.
    ///   - lengthSteps: lengths for which there are plans, from each power of two to the next.
    public init(lengths: [Int], isEven: Bool = false, lengthSteps: Int = 4, device: Device) {
      let longest = lengths.max() ?? 0
      guard !isEven else {
        (count, self.longest, total, starts, self.lengths) = (lengths.count, longest, longest * lengths.count, nil, nil)
        return
      }
      count = Self.roundedUp(lengths.count, from: 1, parts: 1)
      self.longest = Self.roundedUp(longest, from: 128, parts: lengthSteps)
      total = Self.roundedUp(lengths.reduce(0, +), from: 128, parts: 4)
      let padded = lengths + Array(repeating: 0, count: count - lengths.count)
      starts = Tensor(padded.reduce(into: [0]) { $0.append($0.last! + $1) }).to(device: device)
      self.lengths = Tensor(padded.map { Int32($0) }).to(device: device)
    }

    /// The next number of a row that has `parts` steps from each power of two to the next.
    static func roundedUp(_ number: Int, from least: Int, parts: Int) -> Int {
      var power = least
      while power * 2 <= number { power *= 2 }
      let step = max(1, power / parts)
      return max(least, (number + step - 1) / step * step)
    }
  }

  /// Whether it takes heads of these dimensions.
  public static func takes(queryDimension: Int, valueDimension: Int) -> Bool {
    queryDimension == valueDimension && queryDimension <= 128 && queryDimension % 8 == 0
  }

  /// Whether it is faster there than FlashAttention-2: from Hopper on, where our GPU library is open.
  public static func isFast(on device: Device) -> Bool {
    Kernels.run(on: device, .bfloat16) && Kernels.capability(of: device) >= 90
  }

  private static var table: ct_cuda_functions { ct_cuda()!.pointee }

  private static func shape(_ queries: Sequences, _ keys: Sequences, isCausal: Bool, scale: Double) -> ct_attention_shape {
    ct_attention_shape(
      sequences: Int64(queries.count), query_length: Int64(queries.longest), key_length: Int64(keys.longest),
      query_total: Int64(queries.total), key_total: Int64(keys.total), scale: scale, is_causal: isCausal,
      query_starts: queries.starts?.handle, key_starts: keys.starts?.handle, query_lengths: queries.lengths?.handle,
      key_lengths: keys.lengths?.handle)
  }

  /// - Parameters:
  ///   - query: `[Tq, heads, dimension]`, contiguous.
  ///   - key: `[Tk, keyValueHeads, dimension]`, as `value`; each token's contiguous.
  /// - Returns: output `[Tq, heads, dimension]`; logSumExp `[Tq, heads]`, fp32.
  public static func forward(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, queries: Sequences, keys: Sequences, isCausal: Bool, scale: Double
  ) -> (output: Tensor, logSumExp: Tensor) {
    withExtendedLifetime((query, key, value, queries, keys)) {
      Kernels.pair {
        table.cudnn_attention(
          query.handle, key.handle, value.handle, shape(queries, keys, isCausal: isCausal, scale: scale), &$0, &$1)
      }
    }
  }

  /// - Parameter gradient: by the output, contiguous, as all of the output's ranks' parts.
  public static func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, output: Tensor, logSumExp: Tensor,
    queries: Sequences, keys: Sequences, isCausal: Bool, scale: Double
  ) -> (query: Tensor, key: Tensor, value: Tensor) {
    withExtendedLifetime((gradient, query, key, value, output, logSumExp, queries, keys)) {
      var byValue: ct_tensor?
      let (byQuery, byKey) = Kernels.pair {
        table.cudnn_attention_gradient(
          gradient.handle, query.handle, key.handle, value.handle, output.handle, logSumExp.handle,
          shape(queries, keys, isCausal: isCausal, scale: scale), &$0, &$1, &byValue)
      }
      return (byQuery, byKey, Tensor(owned: byValue))
    }
  }
}
