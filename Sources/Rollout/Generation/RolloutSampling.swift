import Inference

/// How responses of a rollout or an evaluation are sampled, and how long they may be.
public struct RolloutSampling: Sendable, Equatable {
  public var temperature = 1.0
  public var topP = 1.0
  public var topK = -1
  public var minNewTokens = 0
  /// Most tokens of a response.
  public var maxResponseLength: Int
  /// Most tokens of prompt and response together.
  public var maxContextLength: Int?
  public var stop: [String] = []
  public var stopTokenIDs: [Int] = []
  public var skipSpecialTokens = false
  /// Samples get the experts that the engine chose (rollout routing replay).
  public var returnsRoutedExperts = false

  public init(maxResponseLength: Int) { self.maxResponseLength = maxResponseLength }

  /// How many more tokens a response may grow by: at most 0 when it is as long as allowed.
  public func room(promptLength: Int, responseLength: Int) -> Int {
    let room = maxResponseLength - responseLength
    return maxContextLength.map { min(room, $0 - promptLength - responseLength) } ?? room
  }

  /// The engine's parameters. Stop strings stay in the text, because their tokens stay in the response.
  func parameters(maxNewTokens: Int, responseLength: Int, seed: Int?) -> SamplingParameters {
    var parameters = SamplingParameters()
    parameters.maxNewTokens = maxNewTokens
    parameters.minNewTokens = min(max(minNewTokens - responseLength, 0), maxNewTokens)
    (parameters.temperature, parameters.topP, parameters.topK) = (temperature, topP, topK)
    (parameters.stop, parameters.stopTokenIDs) = (stop, stopTokenIDs)
    parameters.skipSpecialTokens = skipSpecialTokens
    parameters.spacesBetweenSpecialTokens = false
    parameters.noStopTrim = true
    parameters.samplingSeed = seed
    return parameters
  }
}
