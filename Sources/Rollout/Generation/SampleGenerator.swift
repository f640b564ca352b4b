import Inference

/// Turns a sample whose response is not finished into one or more finished ones: what a multi-turn or tool-using rollout
/// replaces.
public protocol SampleGenerator: Sendable {
  /// - Parameter context: What may be called; its engine counts against the rollout's concurrency already.
  /// - Returns: The sample with its response, or several that it fanned out into, which then share a `rolloutID`.
  func generate(_ sample: Sample, _ context: GenerationContext) async throws -> [Sample]
}

public struct GenerationContext: Sendable {
  public var engine: any GenerationEngine
  public var codec: PromptCodec
  public var sampling: RolloutSampling
  /// Makes the response a function of the weights and this number.
  public var samplingSeed: Int?
  /// Unique among live requests.
  public var requestID: String
  public var isEvaluation: Bool
}

/// The default: one prompt, one response.
public struct SingleTurnGenerator: SampleGenerator {
  public init() {}

  public func generate(_ sample: Sample, _ context: GenerationContext) async throws -> [Sample] {
    var sample = sample
    if sample.tokens.isEmpty { sample.tokens = try promptTokens(of: sample, context) }
    let promptLength = sample.tokens.count - sample.responseLength
    let room = context.sampling.room(promptLength: promptLength, responseLength: sample.responseLength)
    guard room > 0 else {
      guard sample.responseLength > 0 else {
        throw SampleError(
          "the prompt of \(promptLength) tokens leaves no room for a response within --rollout-max-context-len "
            + "\(context.sampling.maxContextLength ?? context.sampling.maxResponseLength); lower --rollout-max-prompt-len")
      }
      sample.status = .truncated
      return [sample]
    }
    let isResumed = sample.responseLength > 0
    var request = GenerateRequest(
      id: context.requestID, tokens: sample.tokens,
      sampling: context.sampling.parameters(
        maxNewTokens: room, responseLength: sample.responseLength, seed: context.samplingSeed),
      returnLogProbs: true, routedExpertsStart: context.sampling.returnsRoutedExperts ? 0 : nil)
    request.images = try sample.encodedImages()
    let output = try await context.engine.generate(request)
    try append(output, to: &sample)
    if isResumed {
      // Two texts do not join where a character's bytes were cut.
      sample.response = try context.codec.decode(Array(sample.responseTokens), context.sampling.skipSpecialTokens)
    }
    return [sample]
  }

  private func promptTokens(of sample: Sample, _ context: GenerationContext) throws -> [Int] {
    guard let text = sample.prompt.text else {
      throw SampleError("a prompt of messages cannot be generated from; render it with --apply-chat-template")
    }
    let tokens = try context.codec.encode(text)
    guard !tokens.isEmpty else { throw SampleError("the prompt is empty") }
    return sample.images.isEmpty ? tokens : try context.codec.placeImages(tokens, sample.encodedImages())
  }

  private func append(_ output: GenerateOutput, to sample: inout Sample) throws {
    var logProbs: [Float] = []
    for (position, entry) in output.outputLogProbs.enumerated() {
      guard let logProb = entry.logProb else {
        throw SampleError("the engine returned no log-probability for response token \(position)")
      }
      logProbs.append(logProb)
    }
    try sample.appendResponseTokens(
      output.outputTokens, logProbs: logProbs, text: output.text, finishReason: output.finishReason,
      weightVersion: output.weightVersion)
    if let experts = output.routedExperts { sample.rolloutRoutedExperts = experts }
    sample.prefixCache.cachedTokens += output.cachedTokens
    sample.prefixCache.promptTokens += output.promptTokens
  }
}
