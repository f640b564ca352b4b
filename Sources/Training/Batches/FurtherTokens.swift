import Models
import Torch

/// What a prediction layer is given of a pack, and what it learns to say: from the token `distance` after each of this rank's,
/// the one after that. A sequence's tokens follow its own alone.
struct FurtherTokens {
  /// 0 where the sequence has ended. `[T]`, int64
  let tokens: Tensor
  /// Where response tokens are predicted, and these tokens. `[R]`, int64
  let predicting: Tensor
  let targets: Tensor
  /// Which response token each of them is: its sample, counted in the pack, and its place in the response.
  let predicted: [(sample: Int, place: Int)]

  /// - Parameters:
  ///   - lengths: tokens of each sequence on this rank; more than there are sequences: padding.
  ///   - positions: of this rank's tokens in their sequences.
  init(
    _ sequences: [(tokens: ArraySlice<Int32>, responseLength: Int)], lengths: [Int], positions: [Int], distance: Int,
    device: Device
  ) {
    var (tokens, predicting, targets) = ([Int](), [Int](), [Int]())
    var predicted: [(sample: Int, place: Int)] = []
    for (sample, length) in lengths.enumerated() {
      let (sequence, responseLength) = sample < sequences.count ? sequences[sample] : ([], 0)
      let promptLength = sequence.count - responseLength
      for position in positions[tokens.count..<tokens.count + length] {
        let target = position + distance + 1
        if target >= promptLength, target < sequence.count {
          predicting.append(tokens.count)
          targets.append(Int(sequence[sequence.startIndex + target]))
          predicted.append((sample, target - promptLength))
        }
        tokens.append(target <= sequence.count ? Int(sequence[sequence.startIndex + target - 1]) : 0)
      }
    }
    func tensor(_ values: [Int]) -> Tensor { Tensor(values).to(device: device) }
    (self.tokens, self.predicting, self.targets) = (tensor(tokens), tensor(predicting), tensor(targets))
    self.predicted = predicted
  }
}

extension CausalLM {
  /// Log-probabilities that the prediction layers give to tokens further on, after a training pass through the last stage.
  /// - Returns: of each layer, `[R]`, differentiable by its weights alone.
  func furtherLogProbs(_ output: Tensor, _ pack: PackedBatch, _ context: ForwardContext) -> [Tensor] {
    guard !pack.further.isEmpty else { return [] }
    let made = predicted(further: pack.further.map(\.tokens), output: output, context)
    return withConstantHead {
      zip(made, pack.further).map {
        statistics($0, at: $1.predicting, targets: $1.targets, temperature: 1).logProbs
      }
    }
  }
}
