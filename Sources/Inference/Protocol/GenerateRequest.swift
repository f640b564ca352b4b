import Foundation

/// One prompt to continue: tokens in, tokens out.
public struct GenerateRequest: Sendable, Equatable, Codable {
  /// Unique among live requests.
  public var id: String
  public var tokens: [Int]
  public var sampling: SamplingParameters
  public var returnLogProbs: Bool
  /// First prompt position whose log-probability is wanted; nil: none of the prompt's.
  public var logProbStart: Int?
  /// How many of the most likely tokens to report at each position.
  public var topLogProbs: Int
  /// Token ids whose log-probabilities to report at each position.
  public var tokenIDsLogProb: [Int]
  /// Position from which on to report the experts that tokens went to; nil: nowhere.
  public var routedExpertsStart: Int?
  /// Which tokens' hidden states to report; nil: none.
  public var hiddenStates: HiddenStatesRequest?
  /// Higher is served first; nil counts as 0.
  public var priority: Int?
  /// Only requests with equal keys and salts share cached prefixes: who may, and under which adapter or image.
  public var extraKey: String?
  public var cacheSalt: String?
  /// The name of the LoRA adapter to use (SGLang's lora_path); nil: the model alone.
  public var adapter: String?
  /// Encoded pictures, in the order of their places in the prompt. A place is one token that stands for pictures, or as many
  /// as the picture takes.
  public var images: [Data] = []
  /// What stands for the prompt's tokens in the prefix cache, where those that stand for pictures do not say which; nil: they
  /// themselves. The engine sets it.
  var cacheKeys: [Int]?

  public init(
    id: String, tokens: [Int], sampling: SamplingParameters = SamplingParameters(), returnLogProbs: Bool = false,
    logProbStart: Int? = nil, topLogProbs: Int = 0, tokenIDsLogProb: [Int] = [], routedExpertsStart: Int? = nil,
    priority: Int? = nil, extraKey: String? = nil, cacheSalt: String? = nil, adapter: String? = nil
  ) {
    (self.id, self.tokens, self.sampling) = (id, tokens, sampling)
    (self.returnLogProbs, self.logProbStart) = (returnLogProbs, logProbStart)
    (self.topLogProbs, self.tokenIDsLogProb) = (topLogProbs, tokenIDsLogProb)
    (self.routedExpertsStart, self.priority) = (routedExpertsStart, priority)
    (self.extraKey, self.cacheSalt, self.adapter) = (extraKey, cacheSalt, adapter)
  }
}

/// A token with its natural log-probability: log-softmax of logits / temperature, before any top-k, top-p or min-p
/// truncation (SGLang's definition; at temperature 0 the temperature counts as 1).
public struct TokenLogProb: Sendable, Equatable, Codable {
  public var token: Int
  /// nil for the first token of a prompt, which nothing precedes.
  public var logProb: Float?

  public init(token: Int, logProb: Float?) { (self.token, self.logProb) = (token, logProb) }
}

public enum FinishReason: Sendable, Equatable, Codable {
  case length(Int)
  case stopToken(Int)
  case stopString(String)
  case abort(String)
}

/// What a request has produced so far; the last update of a request carries its `finishReason`.
public struct GenerateOutput: Sendable, Equatable, Codable {
  public var id: String
  public var outputTokens: [Int] = []
  /// The text of `outputTokens`, with stop strings trimmed unless `noStopTrim`.
  public var text = ""
  public var outputLogProbs: [TokenLogProb] = []
  /// From `logProbStart` on.
  public var inputLogProbs: [TokenLogProb] = []
  public var outputTopLogProbs: [[TokenLogProb]] = []
  public var inputTopLogProbs: [[TokenLogProb]] = []
  public var outputTokenIDsLogProbs: [[TokenLogProb]] = []
  public var inputTokenIDsLogProbs: [[TokenLogProb]] = []
  public var finishReason: FinishReason?
  public var promptTokens = 0
  /// Prompt tokens whose KV was taken from the cache when the request first ran.
  public var cachedTokens = 0
  /// How often its pages were taken back and computed again.
  public var retractions = 0
  /// The version of the weights that sampled the last token.
  public var weightVersion = "default"
  /// Which weights sampled which tokens, in order; empty: `weightVersion` sampled all.
  public var weightVersions: [WeightVersionSpan] = []
  /// The experts of each layer that the tokens from the wanted position on went to, all but the last, which went nowhere:
  /// little-endian int32, `[tokens − 1 − start, layers, expertsPerToken]`, zeros for dense layers; nil before the end, and
  /// where they were not asked for.
  public var routedExperts: Data?
  /// nil before the end, and where they were not asked for.
  public var hiddenStates: HiddenStates?
  /// What became of the tokens that were drafted for the response; nil: none were.
  public var speculation: SpeculationCounts?
  /// Seconds from arrival to the first token and to the end.
  public var firstTokenLatency = 0.0
  public var endToEndLatency = 0.0

  public init(id: String) { self.id = id }
}

/// Which hidden states of a prompt are wanted, besides those of the response.
public enum HiddenStatesRequest: Sendable, Equatable, Codable {
  case all
  /// That of its last token.
  case last
}

/// What the model made of tokens: its output after the final norm, of the wanted tokens of the prompt and of all tokens of
/// the response but the last, which was not run.
public struct HiddenStates: Sendable, Equatable, Codable {
  /// fp32 `[tokens, size]`, in this machine's byte order.
  public var values: Data
  public var size: Int
  /// How many of them, the first, are of the prompt.
  public var promptCount: Int

  public init(values: Data, size: Int, promptCount: Int) {
    (self.values, self.size, self.promptCount) = (values, size, promptCount)
  }

  /// One a token.
  public var rows: [[Float]] {
    let numbers = values.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    return stride(from: 0, to: numbers.count, by: size).map { Array(numbers[$0..<$0 + size]) }
  }
}

/// The output tokens `start..<end` were sampled by the weights of one version.
public struct WeightVersionSpan: Sendable, Equatable, Codable {
  public var version: String
  public var start: Int
  public var end: Int

  public init(version: String, start: Int, end: Int) { (self.version, self.start, self.end) = (version, start, end) }
}
