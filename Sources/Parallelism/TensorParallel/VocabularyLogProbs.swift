import Torch

/// Log-probabilities of chosen tokens and the entropy, both fp32 `[T]`.
public struct TokenStatistics {
  public let logProbs: Tensor
  public let entropy: Tensor
}

/// Natural log-probability of `targets` under softmax(logits / temperature), and that distribution's entropy in nats.
///
/// Logits may be split over the ranks of `group` along the vocabulary, in order. One operation with a gradient of its
/// own: it keeps the probabilities alone, and both results are differentiable.
/// - Parameters:
///   - logits: `[T, this rank's part of the vocabulary]`, any floating-point type; computed in fp32.
///   - first: the id that the part begins with.
///   - targets: `[T]`, int64, ids in the whole vocabulary.
///   - isDeterministic: whether a token's results are the same bits whatever tokens stand beside it.
public func vocabularyLogProbs(
  logits: Tensor, from first: Int, targets: Tensor, temperature: Double = 1, group: ProcessGroup,
  isDeterministic: Bool = false
) -> TokenStatistics {
  var probabilities: Tensor?
  var safeTargets: Tensor?
  var present: Tensor?
  var entropyValue: Tensor?
  let outputs = Tensor.function("VocabularyLogProbs", inputs: [logits]) {
    let scaled = logits.detached().to(dtype: .float32, copy: true)
    if temperature != 1 {
      // By a number, a GPU multiplies with the reciprocal, which an engine's column of temperatures does not.
      if isDeterministic {
        scaled.div_(Tensor.full([1], temperature, device: scaled.device))
      } else {
        scaled.div_(temperature)
      }
    }
    let maximum = scaled.amax([1], keepdim: true)
    group.allReduce(maximum, .maximum)
    scaled.sub_(maximum)
    let local = targets - first
    let isHere = local.ge(0).logicalAnd(local.lt(logits.size(1)))
    let safe = local.clamped(0, max: logits.size(1) - 1).unsqueeze(1)
    let chosen = scaled.gather(1, index: safe).squeeze(1) * isHere.to(dtype: .float32)
    group.allReduce(chosen)
    let exponentials = scaled.exp()
    func sum(_ rows: Tensor) -> Tensor { isDeterministic ? rows.rowInvariantSum() : rows.sum([1]) }
    let sums = sum(exponentials)
    // Σ e^z·z, for the entropy: log Σ e^z − Σ p·z.
    let weighted = sum(exponentials * scaled)
    if group.size > 1 {
      let both = Tensor.stack([sums, weighted]).summed(over: group, inOrder: isDeterministic)
      sums.copy_(both[0])
      weighted.copy_(both[1])
    }
    let logSum = sums.log()
    let entropy = logSum - weighted / sums
    probabilities = exponentials.div_(sums.unsqueeze(1))
    (safeTargets, present, entropyValue) = (safe, isHere, entropy)
    return [chosen - logSum, entropy]
  } backward: { gradients in
    // d logProb / d logits = 1[target] − p;  d entropy / d logits = −p (log p + entropy)
    guard let p = probabilities, let safeTargets, let present, let entropy = entropyValue else { return [nil] }
    let result = p.zerosLike()
    if let byLogProb = gradients[0] {
      result.add_(p * (byLogProb.neg().unsqueeze(1)))
      result.scatterAdd_(1, index: safeTargets, src: (byLogProb * present.to(dtype: .float32)).unsqueeze(1))
    }
    if let byEntropy = gradients[1] {
      let logP = p.clampMin(1e-38).log()
      result.sub_(p * (logP + entropy.unsqueeze(1)) * byEntropy.unsqueeze(1))
    }
    if temperature != 1 { result.div_(temperature) }
    return [result.to(dtype: logits.dtype)]
  }
  return TokenStatistics(logProbs: outputs[0], entropy: outputs[1])
}

/// What `vocabularyLogProbs` subtracts from logits in deterministic mode, to the same bits, for logits that stand together:
/// the largest, then the log of the sum of exponentials of what is left. Each `[T, 1]`
/// - Parameters:
///   - logits: `[T, vocabulary]`, fp32, already over the temperature.
///   - parts: the ranks' parts of the vocabulary, in order.
public func vocabularyNormalizers(_ logits: Tensor, parts: [Range<Int>]) -> [Tensor] {
  let maximum = logits.amax([1], keepdim: true)
  let sums = parts.map { part in
    (logits.narrow(1, start: part.lowerBound, length: part.count) - maximum).exp().rowInvariantSum()
  }
  return [maximum, Tensor.stack(sums).sumInOrder().log().unsqueeze(1)]
}
