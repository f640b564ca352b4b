import Grammars

/// How a response is sampled. Names, defaults and ranges are those of SGLang's `sampling_params`.
public struct SamplingParameters: Sendable, Equatable, Codable {
  /// Most tokens to sample; nil is bounded by the context length alone.
  public var maxNewTokens: Int? = 128
  /// Until this many tokens are sampled, neither an end-of-sequence nor a stop token can be.
  public var minNewTokens = 0
  /// 0 is greedy.
  public var temperature = 1.0
  public var topP = 1.0
  /// -1 keeps the whole vocabulary.
  public var topK = -1
  public var minP = 0.0
  public var frequencyPenalty = 0.0
  public var presencePenalty = 0.0
  public var repetitionPenalty = 1.0
  /// Added to the logits of these token ids.
  public var logitBias: [Int: Double] = [:]
  public var stop: [String] = []
  /// Regular expressions: the response ends with the token with which a part of its text matches one. It is not cut there.
  public var stopRegex: [String] = []
  public var stopTokenIDs: [Int] = []
  public var ignoreEOS = false
  public var skipSpecialTokens = true
  public var spacesBetweenSpecialTokens = true
  /// Keep the stop string or token in the text.
  public var noStopTrim = false
  /// Makes the samples a function of the seed and the position alone, whatever else runs beside.
  public var samplingSeed: Int?
  /// The text of a JSON schema that the response must satisfy. At most one of this, `regex` and `ebnf` may be given.
  public var jsonSchema: String?
  /// A regular expression that the whole response must match.
  public var regex: String?
  /// A grammar whose rule `root` the whole response must match.
  public var ebnf: String?

  public init() {}
}

extension SamplingParameters {
  /// What the response must match.
  package var grammar: GrammarSource? {
    jsonSchema.map(GrammarSource.jsonSchema) ?? regex.map(GrammarSource.regex) ?? ebnf.map(GrammarSource.ebnf)
  }
}
