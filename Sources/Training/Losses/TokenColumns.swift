import Torch

/// What is known of each response token of the samples that one rank trains on; arrays as long as all their responses.
struct TokenColumns {
  var advantages: [Float]
  /// Log-probabilities of the policy that sampled; nil: those of the step itself, detached.
  var oldLogProbs: [Float]?
  var referenceLogProbs: [Float]?
  var rolloutLogProbs: [Float]?
  /// mask · the sample's weight in the loss: Σ weight · loss over all ranks is the step's loss.
  var weights: [Float]
  var masks: [UInt8]
}

/// One micro-batch's part of the columns, on the device.
struct LossInputs {
  let advantages: Tensor
  let oldLogProbs: Tensor?
  let referenceLogProbs: Tensor?
  let rolloutLogProbs: Tensor?
  let weights: Tensor
  let masks: Tensor
  /// The sample that each token belongs to, counted within the micro-batch; int64.
  let sample: Tensor
  let sampleCount: Int

  /// - Parameter ranges: where the samples of the micro-batch lie in the columns.
  init(_ columns: TokenColumns, ranges: [Range<Int>], device: Device) {
    func pick(_ column: [Float]) -> Tensor { Tensor(ranges.flatMap { column[$0] }).to(device: device) }
    advantages = pick(columns.advantages)
    oldLogProbs = columns.oldLogProbs.map(pick)
    referenceLogProbs = columns.referenceLogProbs.map(pick)
    rolloutLogProbs = columns.rolloutLogProbs.map(pick)
    weights = pick(columns.weights)
    masks = Tensor(ranges.flatMap { columns.masks[$0].map { Float($0) } }).to(device: device)
    sample = Tensor(ranges.enumerated().flatMap { Array(repeating: $0.offset, count: $0.element.count) }).to(device: device)
    sampleCount = ranges.count
  }

  /// The masked mean over each token's sample, at every token; differentiable.
  func sequenceMean(_ values: Tensor) -> Tensor {
    let zeros = Tensor.zeros([sampleCount], device: values.device)
    let sums = zeros.indexAdd(0, index: sample, source: values * masks)
    let counts = zeros.indexAdd(0, index: sample, source: masks).clampMin(1)
    return (sums / counts).indexSelect(0, index: sample)
  }
}
