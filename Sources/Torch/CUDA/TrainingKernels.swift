import CTorch

extension Kernels {
  /// An operation that is recorded only where gradients are.
  static func function(
    _ name: String, _ inputs: [Tensor], forward: () -> [Tensor], backward: @escaping ([Tensor?]) -> [Tensor?]
  ) -> [Tensor] {
    gradientsEnabled ? Tensor.function(name, inputs: inputs, forward: forward, backward: backward) : forward()
  }

  static func siluMultiplyGradient(_ both: Tensor, _ gradient: Tensor) -> Tensor {
    if both.device.kind == .meta { return both.emptyLike() }
    return withExtendedLifetime((both, gradient)) { Tensor(owned: table.silu_multiply_gradient(both.handle, gradient.handle)) }
  }

  static func addNormGradient(
    _ sum: Tensor, weight: Tensor, epsilon: Double, byNormed: Tensor, bySum: Tensor?
  ) -> (input: Tensor, weight: Tensor) {
    if sum.device.kind == .meta { return (sum.emptyLike(), weight.emptyLike()) }
    return withExtendedLifetime((sum, weight, byNormed, bySum)) {
      pair { table.add_norm_gradient(sum.handle, weight.handle, epsilon, byNormed.handle, bySum?.handle, &$0, &$1) }
    }
  }

  /// Of each row of logits over the temperature, z: the largest, Σ e^(z - largest), Σ e^(z - largest) (z - largest), and the
  /// target's z, 0 where it is not among the columns. `[4, rows]`, fp32
  /// - Parameters:
  ///   - logits: `[rows, columns]`, bf16 or fp32 (of the same numbers the same bits), contiguous.
  ///   - targets: `[rows]`, int64: columns.
  ///   - temperatures: of each row, instead of one for all. `[rows]`, fp32
  public static func rowStatistics(
    _ logits: Tensor, targets: Tensor, temperature: Double = 1, temperatures: Tensor? = nil
  ) -> Tensor {
    if logits.device.kind == .meta { return .empty([4, logits.size(0)], device: logits.device) }
    return withExtendedLifetime((logits, targets, temperatures)) {
      Tensor(owned: table.row_statistics(logits.handle, targets.handle, temperature, temperatures?.handle))
    }
  }

  /// Puts gradients by logits in their place.
  /// - Parameters:
  ///   - logSums: log Σ e^z of each row, over all ranks' columns. `[rows]`, fp32, as `entropies` and the gradients by the
  ///     targets' log-probabilities and the entropies.
  public static func logitsGradient(
    _ logits: Tensor, targets: Tensor, temperature: Double, logSums: Tensor, entropies: Tensor, byLogProb: Tensor,
    byEntropy: Tensor?
  ) {
    if logits.device.kind == .meta { return }
    withExtendedLifetime((logits, targets, logSums, entropies, byLogProb, byEntropy)) {
      checked(table.logits_gradient(
        logits.handle, targets.handle, temperature, logSums.handle, entropies.handle, byLogProb.handle, byEntropy?.handle))
    }
  }

  /// One step of AdamW; contiguous tensors of one size.
  /// - Parameters:
  ///   - first: fp32 or bf16, as `second` and `gradients`.
  ///   - low: takes what was stepped, in bf16; nil: nothing does.
  ///   - step: the number of this step, a scalar on the device.
  ///   - gradientScale: how often the gradient counts.
  public static func adamW(
    _ weights: MasterWeights, first: Tensor, second: Tensor, gradients: Tensor, low: Tensor?, step: Tensor,
    learningRate: Double, options: AdamW.Options, gradientScale: Double
  ) {
    if weights.values.device.kind == .meta { return }
    withExtendedLifetime((weights, first, second, gradients, low, step)) {
      checked(table.adamw(
        weights.values.handle, weights.remainders?.handle, first.handle, second.handle, gradients.handle, low?.handle,
        step.handle, learningRate, options.beta1, options.beta2, options.epsilon, options.weightDecay, gradientScale))
    }
  }
}

/// What queries and keys are normed and turned by, and they.
struct NormRotation {
  let query: Tensor
  let key: Tensor
  let queryWeight: Tensor?
  let keyWeight: Tensor?
  let epsilon: Double
  let cosine: Tensor
  let sine: Tensor

  func turned() -> (query: Tensor, key: Tensor) {
    if query.device.kind == .meta { return (fresh(query), fresh(key)) }
    return withExtendedLifetime(self) {
      Kernels.pair {
        Kernels.table.norm_rotate(
          query.handle, key.handle, queryWeight?.handle, keyWeight?.handle, epsilon, cosine.handle, sine.handle, &$0, &$1)
      }
    }
  }

  private func fresh(_ heads: Tensor) -> Tensor { .empty(heads.shape, dtype: heads.dtype, device: heads.device) }

  /// By query, key and the weights that there are.
  func gradients(byQuery: Tensor, byKey: Tensor) -> [Tensor?] {
    if query.device.kind == .meta { return [fresh(query), fresh(key)] + [queryWeight, keyWeight].compactMap { $0?.emptyLike() } }
    return withExtendedLifetime((self, byQuery, byKey)) {
      var weights: ct_tensor?
      let (first, second) = Kernels.pair {
        Kernels.table.norm_rotate_gradient(
          query.handle, key.handle, queryWeight?.handle, keyWeight?.handle, epsilon, cosine.handle, sine.handle,
          byQuery.handle, byKey.handle, &$0, &$1, &weights)
      }
      guard let weights else { return [first, second] }
      let both = Tensor(owned: weights)
      return [first, second] + (queryWeight == nil ? [] : [both[0]]) + (keyWeight == nil ? [] : [both[1]])
    }
  }
}
