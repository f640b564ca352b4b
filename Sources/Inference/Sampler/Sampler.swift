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
  }

  package struct Sample {
    package var token: Int
    /// False when the logits held no finite number to choose.
    package var isValid: Bool
    package var logProbs: TokenLogProbs?
  }

  package init() {}

  /// - Parameter logits: `[rows, vocabulary]`, any floating-point type.
  package func sample(_ logits: Tensor, _ rows: [Row]) throws -> [Sample] {
    let scaled = scaledLogits(logits, rows)
    let (best, chosen) = scores(scaled: scaled, rows).max(1)
    let tokens: [Int] = try chosen.values(count: rows.count)
    let bestScores: [Float] = try best.values(count: rows.count)
    let logProbs = try rows.contains { $0.logProbs != nil }
      ? LogProbs.compute(scaled, tokens: chosen, tokens, rows.map(\.logProbs))
      : [TokenLogProbs?](repeating: nil, count: rows.count)
    return rows.indices.map { i in
      Sample(token: tokens[i], isValid: bestScores[i].isFinite, logProbs: logProbs[i])
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
      result = result / Tensor(temperatures, shape: [rows.count, 1]).to(device: logits.device)
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
    func tensor(_ values: [Float]) -> Tensor { Tensor(values).to(device: logits.device) }
    let flat = logits.clone().view([rows.count * columns])
    let index = Tensor(places).to(device: logits.device)
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
    let index = Tensor(members).to(device: device)
    func column(_ value: (SamplingParameters) -> Float) -> Tensor {
      Tensor(members.map { value(rows[$0].state.parameters) }, shape: [members.count, 1]).to(device: device)
    }
    let (sorted, order) = (isAll ? scaled : scaled.indexSelect(0, index: index)).softmax(1).sort(stable: true, dim: 1, descending: true)
    let columns = scaled.size(1)
    let rank = Tensor.arange(columns, dtype: .float32, device: device).unsqueeze(0)
    let before = sorted.cumsum(1) - sorted
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
      .indexCopy_(0, index: Tensor(members).to(device: device), source: gumbel)
  }
}

extension Tensor {
  /// The elements; an error when an operation before has failed and there are none.
  func values<Element: TensorElement>(count: Int) throws -> [Element] {
    let values: [Element] = isDefined ? array() : []
    guard values.count == count else { throw EngineError("An operation of the model failed.") }
    return values
  }
}
