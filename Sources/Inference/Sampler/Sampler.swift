import Torch

/// Chooses the next token of each row of a batch.
///
/// What a row samples is a function of its logits, its seed and its position: rows never share noise or order, so batch
/// composition does not matter. Log-probabilities are those of softmax(logits / temperature), penalties, bias and
/// what a grammar allows included, before any truncation (SGLang's definition): of the distribution that is sampled, which
/// under a grammar is the model's, restricted to the allowed tokens.
package struct Sampler {
  /// One row: what its request wants, and where it stands.
  package struct Row {
    package var state: SamplingState
    /// That of the token to be sampled, in its request.
    package var position: Int
    /// Tokens that must not be sampled yet.
    package var forbidden: Set<Int>
    /// nil: no log-probabilities are wanted.
    package var logProbs: LogProbRequest?
    /// nil: all that are not forbidden.
    package var allowed: AllowedTokens?

    package init(
      _ state: SamplingState, position: Int, forbidden: Set<Int> = [], logProbs: LogProbRequest? = nil,
      allowed: AllowedTokens? = nil
    ) {
      (self.state, self.position, self.forbidden, self.logProbs) = (state, position, forbidden, logProbs)
      self.allowed = allowed
    }

    /// Whether it is sampled from all the logits as they are, over the temperature, and wants that token's
    /// log-probability at most.
    var isPlain: Bool {
      allowed == nil && !state.truncates && !state.adjusts(forbidden: forbidden)
        && (logProbs.map { $0.top == 0 && $0.tokenIDs.isEmpty } ?? true)
    }
  }

  package struct Sample {
    package var token: Int
    /// False when the logits held no finite number to choose.
    package var isValid: Bool
    package var logProbs: TokenLogProbs?
  }

  /// In deterministic mode, the ranks' parts of the vocabulary.
  private let parts: [Range<Int>]?

  package init(parts: [Range<Int>]? = nil) { self.parts = parts }

  /// What a batch samples, on its way to the host.
  package struct Pending {
    /// `[rows]`, int64, where the logits are.
    package let tokens: Tensor
    fileprivate let onHost: () throws -> [Sample]

    /// Waits for it.
    package func samples() throws -> [Sample] { try onHost() }
  }

  /// What the kernel is told of rows that are sampled from all their logits as they are, over the temperature.
  package struct PlainRows {
    package let temperatures: [Float]
    /// Of their noise.
    package let keys: [Int]
    package let isGreedy: [Bool]
  }

  /// nil: there is no kernel for such rows.
  package func plain(_ rows: [Row], on device: Device, _ dtype: DType) -> PlainRows? {
    let usesKernels = parts.map { LogProbs.hasInvariantKernel($0, on: device, dtype) } ?? true
    guard usesKernels, Kernels.sample(on: device, dtype), rows.allSatisfy(\.isPlain) else { return nil }
    return PlainRows(
      temperatures: rows.map(\.state.temperature),
      keys: rows.map { SamplingNoise(seed: $0.state.seed, position: $0.position).signedKey },
      isGreedy: rows.map(\.state.isGreedy))
  }

  /// - Parameters:
  ///   - logits: `[rows, vocabulary]`, any floating-point type.
  ///   - samples: what the kernel has sampled of them, and maybe of more rows after them; nil: it did not.
  package func sample(_ logits: Tensor, _ rows: [Row], samples: Samples? = nil) throws -> Pending {
    if let samples = samples ?? sampledByKernel(logits, rows) { return try pending(samples, logits, rows) }
    let scaled = scaledLogits(logits, rows)
    let (best, chosen) = scores(scaled: scaled, rows).max(1)
    let logProbs = try rows.contains { $0.logProbs != nil }
      ? LogProbs(scaled, tokens: chosen, rows.map(\.logProbs), parts: parts, dtype: logits.dtype) : nil
    let (hostTokens, hostScores) = (try HostCopy(chosen), try HostCopy(best))
    return Pending(tokens: chosen) {
      let tokens: [Int] = try hostTokens.values(count: rows.count)
      let scores: [Float] = try hostScores.values(count: rows.count)
      let logProbs = try logProbs?.values(tokens)
      return rows.indices.map { Sample(token: tokens[$0], isValid: scores[$0].isFinite, logProbs: logProbs?[$0]) }
    }
  }

  private func sampledByKernel(_ logits: Tensor, _ rows: [Row]) -> Samples? {
    plain(rows, on: logits.device, logits.dtype).map { plain in
      Kernels.sample(
        logits, temperatures: Tensor(plain.temperatures).sent(to: logits.device), keys: Tensor(plain.keys).sent(to: logits.device),
        isGreedy: Tensor(plain.isGreedy).sent(to: logits.device))
    }
  }

  /// - Parameter samples: of plain rows.
  private func pending(_ samples: Samples, _ logits: Tensor, _ rows: [Row]) throws -> Pending {
    let tokens = samples.tokens.narrow(0, start: 0, length: rows.count)
    let copy = try HostCopy(samples.packed)
    var invariant: HostCopy?
    if parts != nil, rows.contains(where: { $0.logProbs != nil }) {
      // The sampler divides a row among blocks, by how many rows there are.
      let temperatures = Tensor(rows.map(\.state.temperature)).sent(to: logits.device)
      let found = Kernels.rowStatistics(logits, targets: tokens, temperatures: temperatures)
      invariant = try HostCopy(found[3] - found[0] - found[1].log())
    }
    return Pending(tokens: tokens) { [invariant] in
      let logProbs: [Float]? = try invariant?.values(count: rows.count)
      return zip(rows.indices, Samples.rows(try copy.tensor())).map { i, sample in
        let logProb = TokenLogProb(token: sample.token, logProb: logProbs?[i] ?? sample.logProb)
        return Sample(
          token: sample.token, isValid: sample.score.isFinite, logProbs: rows[i].logProbs.map { _ in TokenLogProbs(chosen: logProb) })
      }
    }
  }

  /// What each token is chosen by: the highest is sampled. `[rows, vocabulary]`, fp32
  package func scores(_ logits: Tensor, _ rows: [Row]) -> Tensor { scores(scaled: scaledLogits(logits, rows), rows) }

  private func scores(scaled: Tensor, _ rows: [Row]) -> Tensor {
    var scores = scaled
    if let mask = truncationMask(scaled, rows) { scores = scores.maskedFill(mask, value: -Double.infinity) }
    if let noise = gumbelNoise(rows, columns: scaled.size(1), device: scaled.device) { scores = scores + noise }
    return scores
  }

  /// Adjusted logits over the temperature, fp32.
  private func scaledLogits(_ logits: Tensor, _ rows: [Row]) -> Tensor {
    var result = adjusted(logits.to(dtype: .float32), rows)
    if let excluded = AllowedTokens.excluded(rows.map(\.allowed), columns: logits.size(1), device: logits.device) {
      result = result.maskedFill(excluded, value: -Double.infinity)
    }
    let temperatures = rows.map(\.state.temperature)
    if temperatures.contains(where: { $0 != 1 }) {
      result = result / Tensor(temperatures, shape: [rows.count, 1]).sent(to: logits.device)
    }
    return result
  }

  private func adjusted(_ logits: Tensor, _ rows: [Row]) -> Tensor {
    var places: [Int] = []
    var changes: [SamplingState.Adjustment] = []
    let columns = logits.size(1)
    for (i, row) in rows.enumerated() {
      for (token, change) in row.state.adjustments(forbidden: row.forbidden) {
        places.append(i * columns + token)
        changes.append(change)
      }
    }
    guard !places.isEmpty else { return logits }
    func tensor(_ values: [Float]) -> Tensor { Tensor(values).sent(to: logits.device) }
    let flat = logits.clone().view([rows.count * columns])
    let index = Tensor(places).sent(to: logits.device)
    let value = flat.indexSelect(0, index: index) + tensor(changes.map(\.offset))
    let scale = tensor(changes.map(\.scale))
    let scaled = Tensor.select(value.gt(0), value: value / scale, other: value * scale)
    return flat.indexCopy_(0, index: index, source: scaled + tensor(changes.map(\.bias))).view([rows.count, columns])
  }

  /// True where top-k, top-p or min-p exclude a token; nil when no row truncates. `[rows, vocabulary]`
  ///
  /// All three look at the untruncated distribution, as SGLang's do ("joint" order): a token stays when fewer than k are
  /// likelier, the likelier ones' probabilities sum to at most top-p, and it has min-p of the most likely one's.
  private func truncationMask(_ scaled: Tensor, _ rows: [Row]) -> Tensor? {
    let members = rows.indices.filter { rows[$0].state.truncates }
    guard !members.isEmpty else { return nil }
    let device = scaled.device
    let isAll = members.count == rows.count
    let index = Tensor(members).sent(to: device)
    func column(_ value: (SamplingParameters) -> Float) -> Tensor {
      Tensor(members.map { value(rows[$0].state.parameters) }, shape: [members.count, 1]).sent(to: device)
    }
    let (sorted, order) = (isAll ? scaled : scaled.indexSelect(0, index: index)).softmax(1).sort(stable: true, dim: 1, descending: true)
    let columns = scaled.size(1)
    let rank = Tensor.arange(columns, dtype: .float32, device: device).unsqueeze(0)
    // A GPU sums a row by itself in another way than one among others.
    let sums = parts == nil ? sorted.cumsum(1) : Tensor.cat(members.indices.map { sorted[$0..<$0 + 1].cumsum(1) })
    let before = sums - sorted
    let excluded = rank.ge(column { $0.topK > 0 ? Float($0.topK) : .infinity })
      .logicalOr(before.gt(column { Float($0.topP) }))
      .logicalOr(sorted.lt(sorted.narrow(1, start: 0, length: 1) * column { Float($0.minP) }))
    let mask = Tensor.zeros([members.count, columns], dtype: .bool, device: device).scatter_(1, index: order, src: excluded)
    guard !isAll else { return mask }
    return Tensor.zeros([rows.count, columns], dtype: .bool, device: device).indexCopy_(0, index: index, source: mask)
  }

  /// Gumbel noise, whose argmax with logits is a sample of their softmax; zero in greedy rows, nil when all are.
  private func gumbelNoise(_ rows: [Row], columns: Int, device: Device) -> Tensor? {
    let members = rows.indices.filter { !rows[$0].state.isGreedy }
    guard !members.isEmpty else { return nil }
    let noises = members.map { SamplingNoise(seed: rows[$0].state.seed, position: rows[$0].position) }
    let uniform = SamplingNoise.uniforms(noises, columns: columns, device: device)
    let gumbel = uniform.log_().neg().log_().neg().to(dtype: .float32)
    guard members.count < rows.count else { return gumbel }
    return Tensor.zeros([rows.count, columns], device: device)
      .indexCopy_(0, index: Tensor(members).sent(to: device), source: gumbel)
  }
}
