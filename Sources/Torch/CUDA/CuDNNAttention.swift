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
  ///   - query: `[Tq, heads, dimension]`
  ///   - key: `[Tk, keyValueHeads, dimension]`, as `value`.
  /// - Returns: output `[Tq, heads, dimension]`; logSumExp `[Tq, heads]`, fp32.
  public static func forward(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, queries: Sequences, keys: Sequences, isCausal: Bool, scale: Double
  ) -> (output: Tensor, logSumExp: Tensor) {
    let (query, key, value) = (query.contiguous(), key.withWholeHeads, value.withWholeHeads)
    return withExtendedLifetime((query, key, value, queries, keys)) {
      Kernels.pair {
        table.cudnn_attention(
          query.handle, key.handle, value.handle, shape(queries, keys, isCausal: isCausal, scale: scale), &$0, &$1)
      }
    }
  }

  /// - Parameter gradient: by the output.
  public static func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, output: Tensor, logSumExp: Tensor,
    queries: Sequences, keys: Sequences, isCausal: Bool, scale: Double
  ) -> (query: Tensor, key: Tensor, value: Tensor) {
    let (query, key, value) = (query.contiguous(), key.withWholeHeads, value.withWholeHeads)
    let (gradient, output, logSumExp) = (gradient.contiguous(), output.contiguous(), logSumExp.contiguous())
    return withExtendedLifetime((gradient, query, key, value, output, logSumExp, queries, keys)) {
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

extension CuDNNAttention.Sequences {
  /// - Parameter isEven: whether all sequences that are attended together have one length, here and on the other side.
  public init(lengths: [Int], isEven: Bool = false, device: Device) {
    let longest = lengths.max() ?? 0
    guard !isEven else {
      self.init(count: lengths.count, longest: longest, total: longest * lengths.count, starts: nil, lengths: nil)
      return
    }
    self.init(
      lengths: lengths, count: Self.roundedUp(lengths.count, from: 1),
      longest: Self.roundedUp(longest, from: 128, parts: 4), device: device)
  }

  /// Whole prompts of an engine, of which every batch may hold others: there are fewer plans, with room for a power of four of them
  /// and a power of two of tokens.
  public init(prompts lengths: [Int], device: Device) {
    self.init(
      lengths: lengths, count: Self.roundedUp(lengths.count, from: 1, base: 4),
      longest: Self.roundedUp(lengths.max() ?? 0, from: 128), device: device)
  }

  /// - Parameters:
  ///   - count: of how many sequences the plan is.
  ///   - longest: and how many tokens they may have.
  private init(lengths: [Int], count: Int, longest: Int, device: Device) {
    let padded = lengths + Array(repeating: 0, count: count - lengths.count)
    self.init(
      count: count, longest: longest, total: Self.roundedUp(lengths.reduce(0, +), from: 128, parts: 4),
      starts: Tensor(padded.reduce(into: [0]) { $0.append($0.last! + $1) }).sent(to: device),
      lengths: Tensor(padded.map { Int32($0) }).sent(to: device))
  }

  /// The next number of a row that has `parts` steps from each power of `base` to the next.
  static func roundedUp(_ number: Int, from least: Int, base: Int = 2, parts: Int = 1) -> Int {
    var power = least
    while power * base <= number { power *= base }
    let step = max(1, power * (base - 1) / parts)
    return number <= power ? power : power + (number - power + step - 1) / step * step
  }
}

extension Tensor {
  /// Itself where each token's heads are contiguous, as in a part of a fused projection.
  fileprivate var withWholeHeads: Tensor { strides[2] == 1 && strides[1] == size(2) ? self : contiguous() }
}
