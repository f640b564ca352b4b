/// What the sampler keeps of one request.
package struct SamplingState {
  let parameters: SamplingParameters
  /// The user's, or one of the engine's.
  let seed: Int
  /// Tokens of the prompt, where a penalty needs them.
  private let promptTokens: Set<Int>
  private var outputCounts: [Int: Int] = [:]
  let countsOutput: Bool

  package init(_ parameters: SamplingParameters, seed: Int, prompt: [Int]) {
    (self.parameters, self.seed) = (parameters, seed)
    promptTokens = parameters.repetitionPenalty != 1 ? Set(prompt) : []
    countsOutput =
      parameters.repetitionPenalty != 1 || parameters.frequencyPenalty != 0 || parameters.presencePenalty != 0
  }

  package mutating func append(_ token: Int) {
    if countsOutput { outputCounts[token, default: 0] += 1 }
  }

  /// SGLang's threshold, below which dividing by the temperature would overflow.
  private var isCold: Bool { parameters.temperature < 1e-6 }
  var isGreedy: Bool { isCold || parameters.topK == 1 }
  /// What logits are divided by.
  var temperature: Float { isCold ? 1 : Float(parameters.temperature) }
  var truncates: Bool { !isGreedy && (parameters.topK > 0 || parameters.topP < 1 || parameters.minP > 0) }

  /// A change of one logit, in this order: `+ offset`, then `/ scale` where positive or `· scale` elsewhere, then `+ bias`.
  struct Adjustment {
    var offset: Float = 0
    var scale: Float = 1
    var bias: Float = 0
  }

  func adjusts(forbidden: Set<Int>) -> Bool { countsOutput || !forbidden.isEmpty || !parameters.logitBias.isEmpty }

  /// Penalties (frequency and presence count the response, repetition also the prompt), bias, and tokens that must not
  /// come yet.
  func adjustments(forbidden: Set<Int>) -> [Int: Adjustment] {
    guard adjusts(forbidden: forbidden) else { return [:] }
    var result: [Int: Adjustment] = [:]
    for (token, count) in outputCounts {
      result[token, default: Adjustment()].offset -=
        Float(parameters.frequencyPenalty) * Float(count) + Float(parameters.presencePenalty)
      result[token, default: Adjustment()].scale = Float(parameters.repetitionPenalty)
    }
    for token in promptTokens { result[token, default: Adjustment()].scale = Float(parameters.repetitionPenalty) }
    for (token, bias) in parameters.logitBias { result[token, default: Adjustment()].bias = Float(bias) }
    for token in forbidden { result[token, default: Adjustment()].bias = -.infinity }
    return result
  }
}
