import CTorch

extension Kernels {
  /// An operation that is recorded only where gradients are.
  static func function(
    _ name: String, _ inputs: [Tensor], forward: () -> [Tensor], backward: @escaping ([Tensor?]) -> [Tensor?]
  ) -> [Tensor] {
    gradientsEnabled ? Tensor.function(name, inputs: inputs, forward: forward, backward: backward) : forward()
  }

  /// Ends the waiting for silu(gate) · up.
  static func siluMultiplyGradient(_ both: Tensor, _ gradient: Tensor, remaking again: Remaking) -> Tensor {
    if both.device.kind == .meta {
      let result = both.emptyLike()
      if again.isAwaited { again.end(with: gradient.emptyLike()) }
      return result
    }
    var product: ct_tensor?
    let result = withExtendedLifetime((both, gradient)) {
      Tensor(owned: again.isAwaited
        ? table.silu_multiply_gradient(both.handle, gradient.handle, &product)
        : table.silu_multiply_gradient(both.handle, gradient.handle, nil))
    }
    if again.isAwaited { again.end(with: Tensor(owned: product)) }
    return result
  }

  /// Ends the waiting for the norm.
  static func addNormGradient(
    _ sum: Tensor, weight: Tensor, epsilon: Double, byNormed: Tensor, bySum: Tensor?, remaking again: Remaking
  ) -> (input: Tensor, weight: Tensor) {
    if sum.device.kind == .meta {
      let result = (sum.emptyLike(), weight.emptyLike())
      if again.isAwaited { again.end(with: sum.emptyLike()) }
      return result
    }
    var normed: ct_tensor?
    let result = withExtendedLifetime((sum, weight, byNormed, bySum)) {
      pair { input, byWeight in
        again.isAwaited
          ? table.add_norm_gradient(
            sum.handle, weight.handle, epsilon, byNormed.handle, bySum?.handle, &input, &byWeight, &normed)
          : table.add_norm_gradient(sum.handle, weight.handle, epsilon, byNormed.handle, bySum?.handle, &input, &byWeight, nil)
      }
    }
    if again.isAwaited { again.end(with: Tensor(owned: normed)) }
    return result
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

  /// Adds rows to rows of a sum, equal indices' in fp32 in the order of the rows.
  /// - Parameters:
  ///   - rows: `[T, width]`, bf16, contiguous; width a multiple of 8.
  ///   - indices: `[T]`, int64
  ///   - sum: `[any, width]`, fp32 or bf16.
  static func addRows(_ rows: Tensor, at indices: Tensor, to sum: Tensor) {
    let (sorted, places) = indices.sort(stable: true)
    if rows.device.kind == .meta { return }
    withExtendedLifetime((rows, sorted, places, sum)) {
      checked(table.add_rows(rows.handle, sorted.handle, places.handle, sum.handle))
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

/// The heads of one product for attention, `[T, queries | gates | keys | values]`, or of the gradient by it.
struct HeadParts {
  let whole: Tensor
  /// `[T, heads, dimension]`, as `key` and `value`: views.
  let query: Tensor
  let key: Tensor
  let value: Tensor
  /// `[T, heads · dimension]`
  let gates: Tensor?

  init(_ whole: Tensor, heads: Int, keyHeads: Int, dimension: Int) {
    let (tokens, width) = (whole.size(0), whole.size(1))
    let (queries, keys) = (heads * dimension, keyHeads * dimension)
    func part(_ start: Int, _ count: Int) -> Tensor {
      whole.narrow(1, start: start, length: count * dimension).view([tokens, count, dimension])
    }
    (self.whole, query) = (whole, part(0, heads))
    (key, value) = (part(width - 2 * keys, keyHeads), part(width - keys, keyHeads))
    gates = width > queries + 2 * keys ? whole.narrow(1, start: queries, length: width - queries - 2 * keys) : nil
  }

  /// Uninitialized, of the same shape.
  func emptyLike() -> HeadParts {
    HeadParts(whole.emptyLike(), heads: query.size(1), keyHeads: key.size(1), dimension: query.size(2))
  }
}

/// Queries and keys, and what they are normed and turned by.
struct NormRotation {
  let parts: HeadParts
  let queryWeight: Tensor?
  let keyWeight: Tensor?
  let epsilon: Double
  let cosine: Tensor
  let sine: Tensor

  init(_ parts: HeadParts, queryWeight: Tensor?, keyWeight: Tensor?, epsilon: Double, cosine: Tensor, sine: Tensor) {
    (self.parts, self.queryWeight, self.keyWeight, self.epsilon) = (parts, queryWeight, keyWeight, epsilon)
    (self.cosine, self.sine) = (cosine, sine)
  }

  func turned() -> (query: Tensor, key: Tensor) {
    if parts.whole.device.kind == .meta { return (fresh(parts.query), fresh(parts.key)) }
    let turn = parts.whole.device.kind == .cpu ? ct_norm_rotate : Kernels.table.norm_rotate!
    return withExtendedLifetime(self) {
      Kernels.pair {
        turn(
          parts.query.handle, parts.key.handle, queryWeight?.handle, keyWeight?.handle, epsilon, cosine.handle, sine.handle,
          &$0, &$1)
      }
    }
  }

  private func fresh(_ heads: Tensor) -> Tensor { .empty(heads.shape, dtype: heads.dtype, device: heads.device) }

  /// By the product and the weights that there are.
  /// - Parameter gradients: by turned queries and keys, values and gates.
  func gradients(_ gradients: [Tensor?]) -> [Tensor?] {
    let inputs = zip(gradients, [parts.query, parts.key, parts.value]).map { ($0 ?? $1.zerosLike()).contiguous() }
    let found = parts.emptyLike()
    if let gates = found.gates {
      if let byGates = gradients[3] { gates.copy_(byGates) } else { gates.zero_() }
    }
    if parts.whole.device.kind == .meta { return [found.whole] + [queryWeight, keyWeight].compactMap { $0?.emptyLike() } }
    let weights = withExtendedLifetime((self, inputs, found)) {
      checked(Kernels.table.norm_rotate_gradient(
        parts.query.handle, parts.key.handle, queryWeight?.handle, keyWeight?.handle, epsilon, cosine.handle, sine.handle,
        inputs[0].handle, inputs[1].handle, inputs[2].handle, found.query.handle, found.key.handle, found.value.handle))
    }
    guard let weights else { return [found.whole] }
    let both = Tensor(owned: weights)
    return [found.whole] + (queryWeight == nil ? [] : [both[0]]) + (keyWeight == nil ? [] : [both[1]])
  }
}
