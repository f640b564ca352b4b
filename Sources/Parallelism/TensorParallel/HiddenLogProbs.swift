import Torch

/// `vocabularyLogProbs` of logits that never exist as a whole: hidden states are multiplied with the head some rows at a
/// time, in bf16 with our kernels, and again in the backward pass but for the last rows, whose logits wait for it (Cut Your
/// Losses, Wijmans et al., 2024; Liger Kernel's fused linear cross-entropy).
public enum HiddenLogProbs {
  /// Most bytes of logits that there are at a time.
  package static let logitsBytes = 1_880_000_000

  /// The rows whose logits are computed together, in order; the last ones are as many as there can be.
  package static func chunks(rows: Int, bytesPerRow: Int) -> [Range<Int>] {
    // Products do whole tiles of rows.
    let most = logitsBytes / bytesPerRow, length = most < 256 ? max(1, most) : most / 256 * 256
    let first = rows % length
    return (first == 0 ? [] : [0..<first]) + stride(from: first, to: rows, by: length).map { $0..<$0 + length }
  }

  /// Whether there are kernels for it.
  public static func run(on hidden: Tensor, _ weight: Parameter) -> Bool {
    Kernels.run(on: hidden.device, hidden.dtype) && weight.tensor.dtype == .bfloat16 && weight.scales == nil
  }

  /// - Parameters:
  ///   - hidden: `[T, hiddenSize]`, bf16.
  ///   - weight: the head, `[this rank's part of the vocabulary, hiddenSize]`; where it requires no gradient, none is computed.
  ///   - first: the id that the part begins with.
  ///   - targets: `[T]`, int64, ids in the whole vocabulary.
  ///   - isDeterministic: whether a token's results are the same bits whatever tokens stand beside it; of one rank's group.
  public static func statistics(
    _ hidden: Tensor, _ weight: Parameter, from first: Int, targets: Tensor, temperature: Double, group: ProcessGroup,
    isDeterministic: Bool = false
  ) -> TokenStatistics {
    func logits(_ states: Tensor, _ head: Tensor) -> Tensor {
      isDeterministic ? states.rowInvariantLinear(head) : states.linearWithoutGradients(head)
    }
    let (states, head) = (hidden.detached().contiguous(), weight.tensor.detached())
    let local = targets - first
    let chunks = chunks(rows: states.size(0), bytesPerRow: head.size(0) * head.dtype.size)
    let isRecorded = gradientsEnabled
    var kept: Tensor?
    let learnsHead = weight.tensor.requiresGrad
    var sums: (log: Tensor, entropy: Tensor)?
    let outputs = Tensor.function("HiddenLogProbs", inputs: [hidden, weight.tensor]) {
      let parts = chunks.map { chunk in
        let logits = logits(states[chunk], head)
        if isRecorded, chunk == chunks.last { kept = logits }
        return Kernels.rowStatistics(logits, targets: local[chunk], temperature: temperature)
      }
      let own = parts.isEmpty ? Tensor.zeros([4, 0], device: states.device) : Tensor.cat(parts, dim: 1)
      let (logProbs, entropies, logSums) = merged(own, group)
      sums = (logSums, entropies.detached())
      return [logProbs, entropies]
    } backward: { gradients in
      guard let sums else { return [nil, nil] }
      let byLogProb = gradients[0]?.contiguous() ?? sums.log.zerosLike()
      let byEntropy = gradients[1]?.contiguous()
      let byHidden = states.emptyLike()
      lazy var byHead = {
        let tensor = Tensor.zeros(head.shape, device: head.device)
        return (tensor: tensor, sum: GradientSum(tensor))
      }()
      // The last ones first, whose memory the others then take.
      for chunk in chunks.reversed() {
        let logits = kept ?? logits(states[chunk], head)
        kept = nil
        Kernels.logitsGradient(
          logits, targets: local[chunk], temperature: temperature, logSums: sums.log[chunk], entropies: sums.entropy[chunk],
          byLogProb: byLogProb[chunk], byEntropy: byEntropy?[chunk])
        _ = logits.mmOut(head, out: byHidden[chunk])
        if learnsHead { (weight.gradientSum ?? byHead.sum).add(logits.t(), times: states[chunk]) }
      }
      return [byHidden, learnsHead && weight.gradientSum == nil ? byHead.tensor.to(dtype: head.dtype) : nil]
    }
    return TokenStatistics(logProbs: outputs[0], entropy: outputs[1])
  }

  /// Log-probabilities, entropies and log Σ e^z, from what each rank knows of its columns, `[4, rows]`.
  package static func merged(
    _ own: Tensor, _ group: ProcessGroup
  ) -> (logProbs: Tensor, entropies: Tensor, logSums: Tensor) {
    var (most, sum, weighted, chosen) = (own[0], own[1], own[2], own[3])
    if group.size > 1 {
      let all = most.clone()
      group.allReduce(all, .maximum)
      let fall = most - all
      // Σ e^(z - all) (z - all), from sums that stand below this rank's largest.
      let both = Tensor.stack([sum * fall.exp(), (weighted + sum * fall) * fall.exp(), chosen]).summed(over: group)
      (most, sum, weighted, chosen) = (all, both[0], both[1], both[2])
    }
    let log = sum.log()
    return (chosen - most - log, log - weighted / sum, (most + log).contiguous())
  }
}
