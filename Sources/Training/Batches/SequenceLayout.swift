import Parallelism

/// How the tokens of a micro-batch lie on one rank: which of them, in which order, with what padding.
///
/// With context parallelism each sequence is padded to 2·size equal chunks, of which rank r holds chunks r and
/// 2·size − 1 − r (zigzag), so that every rank has the same work under a causal mask; all ranks hold equally many.
public struct SequenceLayout: Sendable, Equatable {
  /// Megatron's `--qkv-format`.
  public enum Format: String, Sendable, Codable, CaseIterable {
    /// Sequences one after another, each as long as it is.
    case packed = "thd"
    /// Every sequence padded to the longest of the micro-batch.
    case padded = "bshd"
  }

  public var contextSize = 1
  public var contextRank = 0
  /// The number of tokens on a rank is a multiple of this (sequence parallelism).
  public var multiple = 1
  public var format = Format.packed

  public init() {}

  public init(_ parallel: ParallelContext, format: Format = .packed) {
    contextSize = parallel.layout.contextParallelSize
    contextRank = parallel.coordinates.context
    multiple = parallel.sequenceParallel ? parallel.layout.tensorParallelSize : 1
    self.format = format
  }

  /// Tokens that a rank holds of a sequence of `length`.
  func localLength(_ length: Int) -> Int {
    contextSize == 1 ? length : 2 * ((length + 2 * contextSize - 1) / (2 * contextSize))
  }

  /// The positions that this rank holds of a sequence, in order; those past its end are padding.
  func positions(localLength: Int) -> [Int] {
    guard contextSize > 1 else { return Array(0..<localLength) }
    let chunk = localLength / 2
    let (first, second) = (contextRank * chunk, (2 * contextSize - 1 - contextRank) * chunk)
    return Array(first..<first + chunk) + Array(second..<second + chunk)
  }

  /// Tokens that fill a rank's `count` up to the multiple.
  func padding(_ count: Int) -> Int {
    var padding = (multiple - count % multiple) % multiple
    // A sequence of padding has two chunks too.
    while contextSize > 1, padding % 2 != 0 { padding += multiple }
    return padding
  }
}
