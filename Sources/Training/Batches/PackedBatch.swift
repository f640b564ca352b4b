import Models
import Parallelism
import Torch

/// Some samples of a batch, packed one after another: one micro-batch, or one context-parallel rank's part of it.
public struct PackedBatch {
  /// Tokens of each sequence on this rank; the last one may be padding.
  public let lengths: [Int]
  /// `[T]`, int64, and each token's position in its sequence.
  public let tokens: Tensor
  public let positions: Tensor
  /// Where the logits stand that predict a response token, and the tokens they predict. `[R]`, int64
  public let predicting: Tensor
  public let targets: Tensor
  /// Which response token each of them is: its sample, counted in the pack, and its place in the response.
  let predicted: [(sample: Int, place: Int)]
  /// Response tokens of each sample, on all ranks together, and all of its tokens.
  let responseLengths: [Int]
  private let sequenceLengths: [Int]
  /// `positions`, on the host.
  let hostPositions: [Int]
  /// For each prediction layer that is trained.
  let further: [FurtherTokens]
  /// Which experts the trained model's tokens go to: given, or noted in the first pass, and repeated; nil: chosen anew.
  var routing: RoutingRecord?
  /// Pictures in the samples, and where they stand; nil: there are none.
  var images: PackedImages?
  /// What routers add to the loss of a training pass.
  var routerLosses: RouterLosses?

  public var tokenCount: Int { lengths.reduce(0, +) }

  /// - Parameters:
  ///   - sequences: tokens, of which the last `responseLength` are predicted.
  ///   - predictionLayers: how many are trained.
  public init(
    _ sequences: [(tokens: ArraySlice<Int32>, responseLength: Int)], layout: SequenceLayout = SequenceLayout(),
    predictionLayers: Int = 0, device: Device
  ) {
    responseLengths = sequences.map(\.responseLength)
    sequenceLengths = sequences.map(\.tokens.count)
    let longest = sequences.map(\.tokens.count).max() ?? 0
    var lengths: [Int] = []
    var (tokens, positions, predicting, targets) = ([Int](), [Int](), [Int](), [Int]())
    var predicted: [(sample: Int, place: Int)] = []
    for (sample, (sequence, responseLength)) in sequences.enumerated() {
      let promptLength = sequence.count - responseLength
      let own = layout.positions(
        localLength: layout.localLength(layout.format == .padded ? longest : sequence.count))
      for position in own {
        let next = position + 1
        if next >= promptLength, next < sequence.count {
          predicting.append(tokens.count)
          targets.append(Int(sequence[sequence.startIndex + next]))
          predicted.append((sample, next - promptLength))
        }
        // Padding stands behind the sequence, where the causal mask hides it.
        tokens.append(position < sequence.count ? Int(sequence[sequence.startIndex + position]) : 0)
        positions.append(position)
      }
      lengths.append(own.count)
    }
    let padding = layout.padding(tokens.count)
    if padding > 0 {
      tokens += Array(repeating: 0, count: padding)
      positions += layout.positions(localLength: padding)
      lengths.append(padding)
    }
    func tensor(_ values: [Int]) -> Tensor { Tensor(values).to(device: device) }
    (self.lengths, self.predicted, hostPositions) = (lengths, predicted, positions)
    further = (0..<predictionLayers).map {
      FurtherTokens(sequences, lengths: lengths, positions: positions, distance: $0 + 1, device: device)
    }
    self.tokens = tensor(tokens)
    self.positions = tensor(positions)
    self.predicting = tensor(predicting)
    self.targets = tensor(targets)
  }

  /// What a forward pass over the pack is given.
  /// - Parameter isTraining: whether the pass is of the trained model's loss.
  func context(
    _ model: CausalLM, policy: Policy = .actor, isTraining: Bool, runner: any BlockRunner,
    implementation: AttentionImplementation, recomputesAttention: Bool = false
  ) -> ForwardContext {
    let parallel = model.parallel
    let attention = trainingAttention(lengths: lengths, parallel: parallel, implementation: implementation)
    // Padding at the end is no sequence.
    let parts = lengths.enumerated().map { place, count in
      SequencePart(count: count, sequenceLength: place < sequenceLengths.count ? sequenceLengths[place] : 0)
    }
    var context = ForwardContext(
      positions: images?.positions(on: parallel.device) ?? positions, sequenceParts: parts,
      attention: recomputesAttention ? RecomputedAttention(attention) : attention, runner: runner,
      routing: policy == .actor || policy == .oldActor ? routing : nil, routerLosses: isTraining ? routerLosses : nil,
      fusesOperators: model.fusesOperators(in: model.table.dtype))
    context.images = images?.inputs(on: parallel.device)
    if isTraining, !further.isEmpty, model.stage.holdsHead {
      context.layerInputs = LayerInputs(model.configuration.predictionInputs)
    }
    return context
  }

  /// Room for the routers' losses in a step of this size.
  func losses(
    _ coefficients: RouterLosses.Coefficients, _ step: RouterLosses.StepSize, _ parallel: ParallelContext
  ) -> RouterLosses {
    RouterLosses(
      coefficients, localLengths: lengths, positions: positions, sequenceLengths: sequenceLengths, step: step,
      parallel: parallel)
  }

  /// Samples of a batch, by their places in it.
  /// - Throws: `ImageError` or `ModelError` about pictures that cannot be used.
  init(
    _ batch: TrainBatch, _ samples: [Int], layout: SequenceLayout, model: ModelConfiguration, device: Device
  ) throws {
    let ranges = batch.tokenRanges
    self.init(
      samples.map { (batch.tokens[ranges[$0]], Int(batch.responseLengths[$0])) }, layout: layout,
      predictionLayers: model.predictionLayerCount, device: device)
    guard let images = batch.images else { return }
    self.images = try PackedImages(
      samples.map { sample in
        PackedImages.Sequence(
          tokens: batch.tokens[ranges[sample]].map(Int.init),
          images: images[sample].isEmpty ? nil : try model.prepared(images[sample]))
      }, model: model, lengths: lengths, hostPositions: hostPositions)
  }
}

extension TrainBatch {
  /// - Throws: `TrainingError` naming the sample that cannot be trained on.
  func check(_ model: ModelConfiguration) throws {
    let vocabularySize = model.vocabularySize
    let ranges = tokenRanges
    for (sample, range) in ranges.enumerated() {
      let response = Int(responseLengths[sample])
      guard response >= 0, response < range.count else {
        throw TrainingError(
          "sample \(sampleIndices[sample]) has \(range.count) tokens and response_length \(response); a response needs a prompt of at least one token before it")
      }
      if let limit = model.sequenceLimit, range.count > limit {
        throw TrainingError(
          "sample \(sampleIndices[sample]) has \(range.count) tokens, but the positions of this model end at \(limit); shorten it")
      }
      if let bad = tokens[range].first(where: { $0 < 0 || $0 >= vocabularySize }) {
        throw TrainingError(
          "sample \(sampleIndices[sample]) holds token id \(bad), but the model's vocabulary ends at \(vocabularySize - 1)")
      }
    }
  }
}
