import Torch

/// Some samples of a batch, packed one after another without padding: one micro-batch.
struct PackedBatch {
  /// Tokens of each sequence.
  let lengths: [Int]
  /// `[T]`, int64, and each token's position in its sequence.
  let tokens: Tensor
  let positions: Tensor
  /// Where the logits stand that predict a response token, and the tokens they predict. `[R]`, int64
  let predicting: Tensor
  let targets: Tensor
  /// Response tokens of each sequence.
  let responseLengths: [Int]

  /// - Parameter sequences: tokens, of which the last `responseLength` are predicted.
  init(_ sequences: [(tokens: ArraySlice<Int32>, responseLength: Int)], device: Device) {
    lengths = sequences.map(\.tokens.count)
    responseLengths = sequences.map(\.responseLength)
    let flat = sequences.flatMap { $0.tokens.map { Int($0) } }
    var predicting: [Int] = []
    var start = 0
    for (tokens, responseLength) in sequences {
      let end = start + tokens.count
      predicting += end - responseLength - 1..<end - 1
      start = end
    }
    func tensor(_ values: [Int]) -> Tensor { Tensor(values).to(device: device) }
    tokens = tensor(flat)
    positions = tensor(lengths.flatMap { Array(0..<$0) })
    targets = tensor(predicting.map { flat[$0 + 1] })
    self.predicting = tensor(predicting)
  }

  /// Samples of a batch, by their places in it.
  init(_ batch: TrainBatch, _ samples: [Int], device: Device) {
    let ranges = batch.tokenRanges
    self.init(samples.map { (batch.tokens[ranges[$0]], Int(batch.responseLengths[$0])) }, device: device)
  }
}

extension TrainBatch {
  /// - Throws: `TrainingError` naming the sample that cannot be trained on.
  func check(vocabularySize: Int) throws {
    let ranges = tokenRanges
    for (sample, range) in ranges.enumerated() {
      let response = Int(responseLengths[sample])
      guard response >= 0, response < range.count else {
        throw TrainingError(
          "sample \(sampleIndices[sample]) has \(range.count) tokens and response_length \(response); a response needs a prompt of at least one token before it")
      }
      if let bad = tokens[range].first(where: { $0 < 0 || $0 >= vocabularySize }) {
        throw TrainingError(
          "sample \(sampleIndices[sample]) holds token id \(bad), but the model's vocabulary ends at \(vocabularySize - 1)")
      }
    }
  }
}
