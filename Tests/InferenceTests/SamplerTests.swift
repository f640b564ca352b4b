import Foundation
import Inference
import TestSupport
import Testing
import Torch

/// The sampler against distributions and logits computed directly.
@Suite struct SamplerTests {
  private static let logits: [Float] = [1.5, 0.2, -0.7, 1.1, 0.9, -2, 0.4, 1.5]

  /// The distribution that is to be sampled, by its definition.
  private static func exact(_ parameters: SamplingParameters) -> [Double] {
    let weights = logits.map { exp(Double($0) / parameters.temperature) }
    let probabilities = weights.map { $0 / weights.reduce(0, +) }
    let order = probabilities.indices.sorted { (-probabilities[$0], $0) < (-probabilities[$1], $1) }
    var kept = [Double](repeating: 0, count: probabilities.count)
    var before = 0.0
    for (rank, token) in order.enumerated() {
      let p = probabilities[token]
      let within = (parameters.topK < 0 || rank < parameters.topK) && before <= parameters.topP
        && p >= parameters.minP * probabilities[order[0]]
      if within { kept[token] = p }
      before += p
    }
    return kept.map { $0 / kept.reduce(0, +) }
  }

  private static func parameters(
    temperature: Double = 1, topK: Int = -1, topP: Double = 1, minP: Double = 0
  ) -> SamplingParameters {
    var parameters = SamplingParameters()
    (parameters.temperature, parameters.topK, parameters.topP, parameters.minP) = (temperature, topK, topP, minP)
    return parameters
  }

  static let cases = [
    parameters(), parameters(temperature: 0.6), parameters(temperature: 2), parameters(topK: 3), parameters(topP: 0.55),
    parameters(minP: 0.4), parameters(temperature: 0.8, topK: 5, topP: 0.8, minP: 0.1),
  ]

  @Test func samplesFollowTheDistribution() throws {
    // All cases in one batch, so that rows of each kind stand beside others.
    let draws = 4000
    let rows = (0..<draws).flatMap { draw in
      Self.cases.enumerated().map { i, parameters in
        Sampler.Row(SamplingState(parameters, seed: 11 + i, prompt: []), position: draw)
      }
    }
    let logits = Tensor(Self.logits).unsqueeze(0).expand([rows.count, Self.logits.count]).contiguous()
    let samples = try withoutGradients { try Sampler().sample(logits, rows).samples() }
    for (i, parameters) in Self.cases.enumerated() {
      var counts = [Double](repeating: 0, count: Self.logits.count)
      for draw in 0..<draws { counts[samples[draw * Self.cases.count + i].token] += 1 }
      var chiSquare = 0.0
      for (count, p) in zip(counts, Self.exact(parameters)) {
        if p == 0 { #expect(count == 0, "case \(i) sampled an excluded token") } else {
          chiSquare += (count - p * Double(draws)) * (count - p * Double(draws)) / (p * Double(draws))
        }
      }
      // 0.9999 quantile for 7 degrees of freedom.
      #expect(chiSquare < 29.9, "case \(i): chi-square \(chiSquare)")
    }
  }

  @Test func rowsAreIndependentOfTheBatch() throws {
    var random = SeededGenerator(state: 1)
    let logits = Tensor.randn([40, 500], generator: Generator(seed: 3)) * 3
    let rows = (0..<40).map { i in
      let parameters = i % 3 == 0 ? Self.parameters(temperature: 0) : Self.cases[i % Self.cases.count]
      return Sampler.Row(
        SamplingState(parameters, seed: Int.random(in: .min ... .max, using: &random), prompt: []), position: i * 7,
        logProbs: i % 2 == 0 ? LogProbRequest(top: i % 5, tokenIDs: [i]) : nil)
    }
    try withoutGradients {
      let together = try Sampler().sample(logits, rows).samples()
      for i in rows.indices {
        let alone = try Sampler().sample(logits[i..<i + 1], [rows[i]]).samples()[0]
        #expect(alone.token == together[i].token)
        #expect(alone.logProbs?.top == together[i].logProbs?.top && alone.logProbs?.chosen == together[i].logProbs?.chosen)
        if i % 3 == 0 { #expect(alone.token == logits[i].argmax().intItem()) }
      }
    }
  }

  @Test func penaltiesAndBias() throws {
    var parameters = SamplingParameters()
    (parameters.temperature, parameters.frequencyPenalty, parameters.presencePenalty) = (1.7, 0.3, 0.5)
    (parameters.repetitionPenalty, parameters.logitBias) = (1.4, [2: 0.7, 6: -1.5])
    var state = SamplingState(parameters, seed: 0, prompt: [0, 5, 5])
    for token in [3, 3, 5, 2] { state.append(token) }
    var wanted = Self.logits.map(Double.init)
    for (token, count) in [3: 2.0, 5: 1, 2: 1] { wanted[token] -= 0.3 * count + 0.5 }
    for token in [0, 5, 3, 2] { wanted[token] = wanted[token] > 0 ? wanted[token] / 1.4 : wanted[token] * 1.4 }
    for (token, bias) in parameters.logitBias { wanted[token] += bias }
    wanted[7] = -.infinity
    let normalizer = log(wanted.map { exp($0 / 1.7) }.reduce(0, +))
    let row = Sampler.Row(state, position: 3, forbidden: [7], logProbs: LogProbRequest(tokenIDs: Array(0..<8)))
    let other = Sampler.Row(SamplingState(Self.parameters(), seed: 0, prompt: []), position: 3)
    let logits = Tensor(Self.logits + Self.logits, shape: [2, 8])
    let sample = try withoutGradients { try Sampler().sample(logits, [other, row]).samples()[1] }
    let found = try #require(sample.logProbs).tokenIDs.map { Double($0.logProb!) }
    for (found, wanted) in zip(found, wanted) where wanted.isFinite { #expect(abs(found - (wanted / 1.7 - normalizer)) < 1e-5) }
    #expect(found[7] == -.infinity)
    #expect(logits.array(Float.self) == Self.logits + Self.logits, "the model's logits must stay as they are")
  }

  @Test func noiseOnTensorsEqualsNoiseOnTheHost() {
    let noises = [(0, 0), (1, 5), (-3, 100_000), (Int.max, 7), (Int.min, 1)].map { SamplingNoise(seed: $0, position: $1) }
    let found = SamplingNoise.byOperators(noises, columns: 1000, device: .cpu)
    #expect(found.array(Double.self) == noises.flatMap { $0.uniforms(count: 1000) })
    #expect(SamplingNoise.uniforms(noises, columns: 1000, device: .cpu).equal(found))
  }
}
