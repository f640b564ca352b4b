import Grammars

extension SamplingParameters {
  /// Most stop strings of one request (SGLang's limit).
  private static let maxStopStrings = 32
  /// Most bytes of a regular expression that stops (SGLang's limit).
  private static let maxStopRegexBytes = 256

  /// Checks every parameter against its range and every token id against the vocabulary.
  /// - Throws: one sentence about the first that is out of range.
  public func validate(vocabularySize: Int) throws(InvalidRequest) {
    try Self.expect(
      temperature >= 0 && temperature.isFinite, "temperature must be a non-negative finite number, got \(temperature).")
    try Self.expect(topP > 0 && topP <= 1, "top_p must be in (0, 1], got \(topP).")
    try Self.expect(topK == -1 || topK >= 1, "top_k must be at least 1, or -1 for the whole vocabulary, got \(topK).")
    try Self.expect((0...1).contains(minP), "min_p must be in [0, 1], got \(minP).")
    try Self.expect((-2...2).contains(frequencyPenalty), "frequency_penalty must be in [-2, 2], got \(frequencyPenalty).")
    try Self.expect((-2...2).contains(presencePenalty), "presence_penalty must be in [-2, 2], got \(presencePenalty).")
    try Self.expect(
      repetitionPenalty > 0 && repetitionPenalty <= 2, "repetition_penalty must be in (0, 2], got \(repetitionPenalty).")
    if let maxNewTokens {
      try Self.expect(maxNewTokens >= 0, "max_new_tokens must be at least 0, got \(maxNewTokens).")
    }
    try Self.expect(
      minNewTokens >= 0 && minNewTokens <= maxNewTokens ?? .max,
      "min_new_tokens must be between 0 and max_new_tokens, got \(minNewTokens).")
    try Self.expect(
      stop.count <= Self.maxStopStrings, "stop may hold at most \(Self.maxStopStrings) strings, got \(stop.count).")
    try Self.expect(!stop.contains(""), "stop must not hold an empty string.")
    try checkStopRegex()
    try checkTokens(stopTokenIDs, "stop_token_ids", vocabularySize)
    try checkTokens(logitBias.keys.sorted(), "logit_bias", vocabularySize)
    for (token, bias) in logitBias.sorted(by: { $0.key < $1.key }) {
      try Self.expect(!bias.isNaN, "logit_bias of token \(token) is not a number.")
    }
    try Self.expect(
      [jsonSchema, regex, ebnf].count { $0 != nil } <= 1, "Only one of json_schema, regex and ebnf may be given.")
  }

  private func checkStopRegex() throws(InvalidRequest) {
    try Self.expect(
      stopRegex.count <= Self.maxStopStrings,
      "stop_regex may hold at most \(Self.maxStopStrings) expressions, got \(stopRegex.count).")
    for pattern in stopRegex {
      try Self.expect(
        !pattern.isEmpty && pattern.utf8.count <= Self.maxStopRegexBytes,
        "each expression of stop_regex must have 1 to \(Self.maxStopRegexBytes) bytes, got \(pattern.utf8.count).")
      do throws(GrammarError) {
        _ = try RegexSearch(pattern)
      } catch {
        throw InvalidRequest("stop_regex cannot be used: \(error.description)")
      }
    }
  }

  private static func expect(_ holds: Bool, _ message: @autoclosure () -> String) throws(InvalidRequest) {
    if !holds { throw InvalidRequest(message()) }
  }
}

extension GenerateRequest {
  /// Checks all that can be known about a request before it runs.
  ///
  /// `max_new_tokens` beyond the context is no error here: the response ends where the context does, and one without
  /// `max_new_tokens` also where the KV cache does.
  /// - Parameter tokenCapacity: tokens that the KV cache holds in all.
  /// - Throws: one sentence about the first thing wrong.
  public func validate(vocabularySize: Int, contextLength: Int, tokenCapacity: Int) throws(InvalidRequest) {
    guard !id.isEmpty else { throw InvalidRequest("rid cannot be empty.") }
    guard !tokens.isEmpty else { throw InvalidRequest("input_ids cannot be empty.") }
    try checkTokens(tokens, "input_ids", vocabularySize)
    try sampling.validate(vocabularySize: vocabularySize)
    try checkTokens(tokenIDsLogProb, "token_ids_logprob", vocabularySize)
    guard tokens.count < contextLength else {
      throw InvalidRequest(
        "The prompt of \(tokens.count) tokens leaves no room in the model's context of \(contextLength) tokens; shorten it.")
    }
    guard topLogProbs >= 0, topLogProbs <= vocabularySize else {
      throw InvalidRequest("top_logprobs_num must be between 0 and the vocabulary size \(vocabularySize), got \(topLogProbs).")
    }
    if let logProbStart, !(0..<tokens.count).contains(logProbStart) {
      throw InvalidRequest(
        "logprob_start_len must be -1 or a position in the prompt of \(tokens.count) tokens, got \(logProbStart).")
    }
    if let routedExpertsStart, !(0..<tokens.count).contains(routedExpertsStart) {
      throw InvalidRequest(
        "routed_experts_start_len must be a position in the prompt of \(tokens.count) tokens, got \(routedExpertsStart).")
    }
    let needed = min(tokens.count + min(sampling.maxNewTokens ?? 1, contextLength), contextLength)
    guard needed <= tokenCapacity else {
      throw InvalidRequest(
        "The prompt of \(tokens.count) tokens and its response need room for \(needed) tokens, but the KV cache holds "
          + "\(tokenCapacity); shorten the prompt or lower max_new_tokens.")
    }
  }
}

private func checkTokens(_ tokens: [Int], _ field: String, _ vocabularySize: Int) throws(InvalidRequest) {
  if let token = tokens.first(where: { $0 < 0 || $0 >= vocabularySize }) {
    throw InvalidRequest("\(field) holds token id \(token), which is outside the vocabulary of \(vocabularySize) tokens.")
  }
}
