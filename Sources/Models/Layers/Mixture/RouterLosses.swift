import Parallelism
import Torch

/// What routers add to the loss of a training step, and one micro-batch's part in it.
///
/// As in Megatron-Core, over scores s (sigmoid ones divided by their sum), the k best of which count as chosen:
/// - balance (`aux_loss`; Fedus et al., "Switch Transformers", 2021): E / (k·N²) · Σₑ countₑ · Σₜ sₜₑ over the N tokens of a
///   micro-batch on all its tensor- and context-parallel ranks;
/// - sequence balance (`seq_aux_loss`; DeepSeek-AI, "DeepSeek-V3", 2024): the same over each sequence by itself;
/// - z (Zoph et al., "ST-MoE", 2022): (log Σₑ exp logitₑ)² of each token.
///
/// A step's loss has: the mean of the first over its tokens (each micro-batch weighs as many as it has), of the second
/// over its sequences, of the third over its tokens; each layer adds its own. Padding counts nowhere. So none depends on
/// how ranks divide the work, and the second and third do not on how samples are packed either.
/// The gradient joins that of the loss where the router runs, and needs no more scaling: gradients of a step are summed.
public final class RouterLosses {
  public struct Coefficients: Sendable, Equatable, Codable {
    public var balance = 0.0
    public var sequenceBalance = 0.0
    public var z = 0.0

    public init() {}
    public var areZero: Bool { names.isEmpty }

    /// What the losses are reported as, those that are there.
    public var names: [String] {
      [("load_balancing_loss", balance), ("seq_load_balancing_loss", sequenceBalance), ("z_loss", z)]
        .filter { $0.1 != 0 }.map(\.0)
    }
  }

  /// What the losses are means over: all samples of the step, on all ranks.
  public struct StepSize: Sendable, Equatable {
    public var tokens: Int
    public var sequences: Int
    public init(tokens: Int, sequences: Int) { (self.tokens, self.sequences) = (tokens, sequences) }
  }

  private let coefficients: Coefficients
  private let step: StepSize
  private let lengths: [Int]
  /// The ranks that hold tokens of the same sequences.
  private let group: ProcessGroup
  /// Of each token of this rank's routers: its sequence, and whether it is one, not padding (1 or 0, fp32). `[T]`
  private let sequence: Tensor
  private let isReal: Tensor
  /// By layer, in the order of the coefficients' names.
  private var values: [Int: [Tensor]] = [:]

  /// - Parameters:
  ///   - localLengths: tokens of each sequence on this context-parallel rank, padding too; what comes after
  ///     `sequenceLengths` is padding as a whole.
  ///   - positions: of those tokens in their sequences, `[T]`, int64.
  ///   - sequenceLengths: tokens of each sequence on all ranks, without padding.
  public init(
    _ coefficients: Coefficients, localLengths: [Int], positions: Tensor, sequenceLengths: [Int], step: StepSize,
    parallel: ParallelContext
  ) {
    (self.coefficients, self.step, lengths) = (coefficients, step, sequenceLengths)
    group = parallel.tensorContext
    let owners = localLengths.enumerated().flatMap { index, count in repeatElement(min(index, sequenceLengths.count), count: count) }
    let owner = Tensor(owners).to(device: positions.device)
    let ends = Tensor(sequenceLengths + [0]).to(device: positions.device).indexSelect(0, index: owner)
    sequence = parallel.routedPart(owner.clamped(0, max: sequenceLengths.count - 1))
    isReal = parallel.routedPart(positions.lt(ends).to(dtype: .float32))
  }

  /// This rank's part of the step's losses of one layer.
  /// - Parameter logits: `[T, experts]`, fp32.
  func loss(_ logits: Tensor, _ mixture: MixtureConfiguration, layer: Int) -> Tensor? {
    var parts: [Tensor] = []
    var total: Tensor?
    func add(_ coefficient: Double, _ value: @autoclosure () -> Tensor) {
      guard coefficient != 0 else { return }
      let value = value()
      parts.append(value.detached())
      total = total.map { $0 + value * coefficient } ?? value * coefficient
    }
    lazy var routing = CountedRouting(logits, mixture, isReal)
    add(coefficients.balance, balance(routing))
    add(coefficients.sequenceBalance, sequenceBalance(routing))
    add(coefficients.z, (logits.logsumexp([1]).square() * isReal).sum() / Double(step.tokens))
    values[layer] = parts
    return total
  }

  private func balance(_ routing: CountedRouting) -> Tensor {
    let counts = withoutGradients { routing.chosen.sum([0]).summed(over: group) }
    // The mean's weight of this micro-batch is N / step.tokens.
    let tokens = Double(lengths.reduce(0, +))
    return (routing.scores.sum([0]) * counts).sum() * (routing.scale / (tokens * Double(step.tokens)))
  }

  private func sequenceBalance(_ routing: CountedRouting) -> Tensor {
    let zeros = Tensor.zeros([lengths.count, routing.scores.size(1)], device: routing.scores.device)
    let counts = withoutGradients { zeros.indexAdd(0, index: sequence, source: routing.chosen).summed(over: group) }
    let sums = zeros.indexAdd(0, index: sequence, source: routing.scores)
    let weights = Tensor(lengths.map { routing.scale / (Double($0 * $0) * Double(step.sequences)) })
      .to(dtype: .float32, device: zeros.device)
    return ((sums * counts).sum([1]) * weights).sum()
  }

  /// This rank's parts of the losses (without coefficients), in the order of the coefficients' names, summed over its
  /// layers: summed over all ranks, and divided by the model's mixture layers, they are means over layers. Zeros where no
  /// layer has run with gradients.
  public var sums: Tensor {
    let layers = values.values.map { Tensor.stack($0) }
    return layers.isEmpty ? .zeros([coefficients.names.count], device: isReal.device) : Tensor.stack(layers).sum([0])
  }
}

/// Scores and choices of tokens as the losses count them, zero for padding. `[T, experts]`
private struct CountedRouting {
  let scores: Tensor
  let chosen: Tensor
  /// E / k
  let scale: Double

  init(_ logits: Tensor, _ mixture: MixtureConfiguration, _ isReal: Tensor) {
    var scores: Tensor
    if mixture.score == .sigmoid {
      scores = logits.sigmoid()
      scores = scores / (scores.sum([1], keepdim: true) + 1e-20)
    } else {
      scores = logits.softmax(1)
    }
    let real = isReal.unsqueeze(1)
    self.scores = scores * real
    chosen = withoutGradients {
      let best = scores.detached().topk(mixture.expertsPerToken, dim: 1).indices
      return scores.zerosLike().scatter_(1, index: best, value: 1) * real
    }
    scale = Double(mixture.expertCount) / Double(mixture.expertsPerToken)
  }
}
