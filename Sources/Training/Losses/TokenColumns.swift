import Parallelism
import Torch

/// What is known of each response token of the samples that one rank trains on; arrays as long as all their responses.
struct TokenColumns {
  var advantages: [Float]
  /// Log-probabilities of the policy that sampled; nil: those of the step itself, detached.
  var oldLogProbs: [Float]?
  var referenceLogProbs: [Float]?
  var rolloutLogProbs: [Float]?
  var teacherLogProbs: [Float]?
  /// log p(student) − log p(teacher), where the advantages hold it.
  var distillationKL: [Float]?
  /// What a critic expected before the first step, and what it should have (PPO).
  var values: [Float]?
  var returns: [Float]?
  /// mask · the sample's weight in the loss: Σ weight · loss over all ranks is the step's loss.
  var weights: [Float]
  var masks: [UInt8]
}

/// One micro-batch's part of the columns, for the response tokens that this rank predicts, on the device.
struct LossInputs {
  let advantages: Tensor
  let oldLogProbs: Tensor?
  let referenceLogProbs: Tensor?
  let rolloutLogProbs: Tensor?
  let distillationKL: Tensor?
  let values: Tensor?
  let returns: Tensor?
  let weights: Tensor
  let masks: Tensor
  /// Of the response tokens that each prediction layer predicts here.
  let furtherWeights: [Tensor]
  /// The sample that each token belongs to, counted within the micro-batch; int64.
  private let sample: Tensor
  /// Trained tokens of each sample, on all ranks together; at least 1.
  private let trainedCounts: Tensor
  private let context: ProcessGroup

  /// - Parameters:
  ///   - ranges: where the samples of the micro-batch lie in the columns.
  ///   - furtherCounts: trained tokens that each prediction layer predicts in the step, on all ranks.
  ///   - context: the ranks that hold the other tokens of the same samples.
  init(
    _ columns: TokenColumns, _ pack: PackedBatch, ranges: [Range<Int>], furtherCounts: [Int], context: ProcessGroup,
    device: Device
  ) {
    let places = pack.predicted.map { ranges[$0.sample].lowerBound + $0.place }
    func pick(_ column: [Float]) -> Tensor { Tensor(places.map { column[$0] }).to(device: device) }
    advantages = pick(columns.advantages)
    oldLogProbs = columns.oldLogProbs.map(pick)
    referenceLogProbs = columns.referenceLogProbs.map(pick)
    rolloutLogProbs = columns.rolloutLogProbs.map(pick)
    distillationKL = columns.distillationKL.map(pick)
    (values, returns) = (columns.values.map(pick), columns.returns.map(pick))
    weights = pick(columns.weights)
    masks = Tensor(places.map { Float(columns.masks[$0]) }).to(device: device)
    furtherWeights = zip(pack.further, furtherCounts).map { further, count in
      Tensor(
        further.predicted.map { Float(columns.masks[ranges[$0.sample].lowerBound + $0.place]) / Float(max(count, 1)) }
      ).to(device: device)
    }
    sample = Tensor(pack.predicted.map(\.sample)).to(device: device)
    trainedCounts = Tensor(ranges.map { range in columns.masks[range].reduce(Float(0)) { $0 + Float($1) } })
      .to(device: device).clampMin(1)
    self.context = context
  }

  /// The masked mean over each token's sample, at every token; differentiable.
  func sequenceMean(_ values: Tensor) -> Tensor {
    let zeros = Tensor.zeros([trainedCounts.size(0)], device: values.device)
    let sums = zeros.indexAdd(0, index: sample, source: values * masks).summedForAll(context)
    return (sums / trainedCounts).indexSelect(0, index: sample)
  }
}
