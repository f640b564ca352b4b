/// What one data-parallel rank trains on in an optimizer step, as far as it can be known beforehand.
public struct PlannedWork: Sendable, Equatable {
  /// Tokens of each sequence of a micro-batch, whole, and how many of them at most are predicted.
  public var lengths: [Int]
  public var responseLength: Int
  /// Micro-batches of a step.
  public var microBatches: Int

  /// - Parameters:
  ///   - averageLength: tokens of a sample.
  ///   - group: micro-batches come in multiples of this (virtual pipeline stages).
  public init(
    batching: MicroBatching, globalBatchSize: Int, averageLength: Int, responseLength: Int, dataParallelSize: Int,
    contextParallelSize: Int, group: Int = 1
  ) {
    let samples = max(globalBatchSize / dataParallelSize, 1)
    switch batching {
    case .fixed(let size):
      lengths = Array(repeating: averageLength, count: size)
      microBatches = max(samples / max(size, 1), 1)
    case .dynamic(let tokens), .balanced(let tokens):
      let limit = tokens * contextParallelSize
      // A sample that is longer than the limit is a micro-batch by itself.
      lengths = Array(repeating: averageLength, count: max(limit / averageLength, 1))
      if limit > averageLength, limit % averageLength > 1 { lengths.append(limit % averageLength) }
      microBatches = (samples * averageLength + limit - 1) / max(limit, averageLength)
    }
    microBatches = max((microBatches + group - 1) / group * group, group)
    self.responseLength = min(responseLength, averageLength - 1)
  }

  /// Sequences of zeros, of which the last tokens are predicted.
  var sequences: [(tokens: ArraySlice<Int32>, responseLength: Int)] {
    let zeros = [Int32](repeating: 0, count: lengths.max() ?? 0)
    return lengths.map { (zeros[..<$0], min(responseLength, $0 - 1)) }
  }
}
