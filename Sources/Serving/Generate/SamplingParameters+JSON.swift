import Inference
import JSON

extension SamplingParameters {
  /// What SGLang has and this engine does not.
  private static let unsupported: Set<String> = [
    "structural_tag", "beam_width", "watermark", "custom_params", "choice",
  ]

  private static let known: Set<String> = [
    "max_new_tokens", "min_new_tokens", "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty",
    "repetition_penalty", "logit_bias", "stop", "stop_token_ids", "ignore_eos", "skip_special_tokens",
    "spaces_between_special_tokens", "no_stop_trim", "sampling_seed", "n", "stream_interval",
    "json_schema", "regex", "ebnf", "stop_regex",
  ]

  /// A temperature below this is greedy (SGLang's threshold).
  private static let smallestTemperature = 1e-6

  /// Reads SGLang's `sampling_params`. `n` and `stream_interval`, which are the server's business, are let pass.
  /// - Throws: one sentence about an unknown name or a wrong type; ranges are checked by `validate`.
  public init(json: JSONValue) throws(InvalidRequest) {
    self.init()
    let fields = try Fields(json, prefix: "sampling_params.", what: "sampling_params")
    try fields.refuse(Self.unsupported)
    try fields.expectOnly(Self.known.union(Self.unsupported))
    if fields.object["max_new_tokens"] != nil { maxNewTokens = try fields.int("max_new_tokens") }
    minNewTokens = try fields.int("min_new_tokens") ?? minNewTokens
    temperature = try fields.double("temperature") ?? temperature
    if (0..<Self.smallestTemperature).contains(temperature) { temperature = 0 }
    topP = try fields.double("top_p") ?? topP
    topK = try fields.int("top_k") ?? topK
    minP = try fields.double("min_p") ?? minP
    frequencyPenalty = try fields.double("frequency_penalty") ?? frequencyPenalty
    presencePenalty = try fields.double("presence_penalty") ?? presencePenalty
    repetitionPenalty = try fields.double("repetition_penalty") ?? repetitionPenalty
    stop = try fields.strings("stop") ?? stop
    stopRegex = try fields.strings("stop_regex") ?? stopRegex
    stopTokenIDs = try fields.ints("stop_token_ids") ?? stopTokenIDs
    ignoreEOS = try fields.bool("ignore_eos") ?? ignoreEOS
    skipSpecialTokens = try fields.bool("skip_special_tokens") ?? skipSpecialTokens
    spacesBetweenSpecialTokens = try fields.bool("spaces_between_special_tokens") ?? spacesBetweenSpecialTokens
    noStopTrim = try fields.bool("no_stop_trim") ?? noStopTrim
    samplingSeed = try fields.int("sampling_seed")
    jsonSchema = try fields.typed("json_schema", "a string with a JSON schema, or a JSON schema") { schema in
      schema.string ?? schema.object.map { _ in schema.text() }
    }
    regex = try fields.string("regex")
    ebnf = try fields.string("ebnf")
    for (token, bias) in try fields.object("logit_bias")?.pairs ?? [] {
      guard let id = Int(token), let bias = bias.double else {
        throw InvalidRequest("sampling_params.logit_bias must map token ids to numbers, got \"\(token)\": \(bias.kind).")
      }
      logitBias[id] = bias
    }
  }

  /// For one of several samples of a prompt: each has a seed of its own, or they would all be the same.
  func ofSample(_ number: Int) -> Self {
    var copy = self
    copy.samplingSeed = samplingSeed.map { $0 &+ number }
    return copy
  }
}
