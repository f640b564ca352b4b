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
    private let hostTokens: HostCopy
    private let scores: HostCopy
    private let logProbs: LogProbs?
    private let count: Int

    fileprivate init(_ tokens: Tensor, scores: Tensor, logProbs: LogProbs?, count: Int) throws {
      (self.tokens, self.logProbs, self.count) = (tokens, logProbs, count)
      (hostTokens, self.scores) = (try HostCopy(tokens), try HostCopy(scores))
    }

    /// Waits for it.
    package func samples() throws -> [Sample] {
      let tokens: [Int] = try hostTokens.values(count: count)
      let scores: [Float] = try scores.values(count: count)
      let logProbs = try logProbs?.values(tokens)
      return tokens.indices.map { i in
        Sample(token: tokens[i], isValid: scores[i].isFinite, logProbs: logProbs?[i])
      }
    }
  }

  /// - Parameter logits: `[rows, vocabulary]`, any floating-point type.
  package func sample(_ logits: Tensor, _ rows: [Row]) throws -> Pending {
    let usesKernels = parts.map { LogProbs.hasInvariantKernel($0, on: logits.device, logits.dtype) } ?? true
    if usesKernels, Kernels.sample(on: logits.device, logits.dtype), rows.allSatisfy(\.isPlain) {
      return try sampleByKernel(logits, rows)
    }
    let scaled = scaledLogits(logits, rows)
    let (best, chosen) = scores(scaled: scaled, rows).max(1)
    let logProbs = try rows.contains { $0.logProbs != nil }
      ? LogProbs(scaled, tokens: chosen, rows.map(\.logProbs), parts: parts, dtype: logits.dtype) : nil
    return try Pending(chosen, scores: best, logProbs: logProbs, count: rows.count)
  }

  private func sampleByKernel(_ logits: Tensor, _ rows: [Row]) throws -> Pending {
    let device = logits.device
    let keys = rows.map { SamplingNoise(seed: $0.state.seed, position: $0.position).signedKey }
    let temperatures = Tensor(rows.map(\.state.temperature)).sent(to: device)
    var (tokens, scores, logProbs) = Kernels.sample(
      logits, temperatures: temperatures, keys: Tensor(keys).sent(to: device),
      isGreedy: Tensor(rows.map(\.state.isGreedy)).sent(to: device))
    let wanted = rows.map(\.logProbs)
    guard wanted.contains(where: { $0 != nil }) else {
      return try Pending(tokens, scores: scores, logProbs: nil, count: rows.count)
    }
    if parts != nil {
      // The sampler divides a row among blocks, by how many rows there are.
      let found = Kernels.rowStatistics(logits, targets: tokens, temperatures: temperatures)
      logProbs = found[3] - found[0] - found[1].log()
    }
    return try Pending(tokens, scores: scores, logProbs: LogProbs(ofTokens: logProbs, wanted), count: rows.count)
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
