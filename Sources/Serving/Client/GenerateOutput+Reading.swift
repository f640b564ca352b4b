import Foundation
import Inference
import JSON

extension GenerateOutput {
  /// Reads what `/generate` answers for a finished request. Where there are log-probabilities, the tokens are theirs:
  /// text is never tokenised again.
  /// - Throws: one sentence about what is missing or of a wrong type.
  init(json: JSONValue, to request: GenerateRequest) throws(InvalidRequest) {
    let answer = try Fields(json, what: "The answer")
    guard let value = answer["meta_info"] else { throw InvalidRequest("meta_info is missing.") }
    let meta = try Fields(value, prefix: "meta_info.", what: "meta_info")
    self.init(id: try meta.string("id") ?? request.id)
    text = try answer.string("text") ?? ""
    outputLogProbs = try Self.logProbs(meta, "output_token_logprobs") ?? []
    inputLogProbs = request.logProbStart == nil ? [] : try Self.logProbs(meta, "input_token_logprobs") ?? []
    func positions(_ key: String) throws(InvalidRequest) -> [[TokenLogProb]] {
      try meta.typed(key, "an array of arrays of [log-prob, token, text] or null") { value in
        value.array.flatMap { rows in
          let read = rows.compactMap { $0.isNull ? [] : Self.triples($0) }
          return read.count == rows.count ? read : nil
        }
      } ?? []
    }
    (outputTopLogProbs, inputTopLogProbs) = (try positions("output_top_logprobs"), try positions("input_top_logprobs"))
    outputTokenIDsLogProbs = try positions("output_token_ids_logprobs")
    inputTokenIDsLogProbs = try positions("input_token_ids_logprobs")
    guard let tokens = request.returnLogProbs ? outputLogProbs.map(\.token) : try answer.ints("output_ids") else {
      throw InvalidRequest("output_ids is missing.")
    }
    outputTokens = tokens
    finishReason = try Self.finishReason(meta, length: tokens.count)
    promptTokens = try meta.int("prompt_tokens") ?? request.tokens.count
    cachedTokens = try meta.int("cached_tokens") ?? 0
    retractions = try meta.int("num_retractions") ?? 0
    if let version = meta["weight_version"] { weightVersion = version.string ?? version.int.map(String.init) ?? weightVersion }
    for span in try meta.array("weight_versions") ?? [] {
      guard let version = span["version"]?.string, let start = span["start"]?.int, let end = span["end"]?.int else {
        throw InvalidRequest("meta_info.weight_versions must hold objects of version, start and end.")
      }
      weightVersions.append(WeightVersionSpan(version: version, start: start, end: end))
    }
    if request.routedExpertsStart != nil {
      routedExperts = try meta.typed("routed_experts", "base64") { $0.string.flatMap { Data(base64Encoded: $0) } }
      guard routedExperts != nil else {
        throw InvalidRequest("meta_info.routed_experts is missing; start the server with --enable-return-routed-experts.")
      }
    }
    if request.hiddenStates != nil {
      hiddenStates = try meta.typed("hidden_states", "an array of an array of arrays of numbers and arrays of numbers") {
        HiddenStates(json: $0)
      }
      guard hiddenStates != nil else {
        throw InvalidRequest("meta_info.hidden_states is missing; start the server with --enable-return-hidden-states.")
      }
    }
    firstTokenLatency = try meta.double("first_token_latency") ?? 0
    endToEndLatency = try meta.double("e2e_latency") ?? 0
  }

  private static func logProbs(_ meta: Fields, _ key: String) throws(InvalidRequest) -> [TokenLogProb]? {
    try meta.typed(key, "an array of [log-prob, token, text]", triples)
  }

  private static func triples(_ value: JSONValue) -> [TokenLogProb]? {
    guard let array = value.array else { return nil }
    var entries: [TokenLogProb] = []
    entries.reserveCapacity(array.count)
    for triple in array {
      guard let parts = triple.array, parts.count >= 2, let token = parts[1].int, parts[0].isNull || parts[0].double != nil
      else { return nil }
      entries.append(TokenLogProb(token: token, logProb: parts[0].double.map { Float($0) }))
    }
    return entries
  }

  private static func finishReason(_ meta: Fields, length: Int) throws(InvalidRequest) -> FinishReason {
    guard let reason = meta["finish_reason"] else { throw InvalidRequest("meta_info.finish_reason is missing.") }
    switch reason["type"]?.string ?? reason.string {
    case "length": return .length(reason["length"]?.int ?? length)
    case "abort": return .abort(reason["message"]?.string ?? "")
    case "stop":
      let matched = reason["matched"]
      if let text = matched?.string { return .stopString(text) }
      return .stopToken(matched?.int ?? matched?.array?.last?.int ?? -1)
    default: throw InvalidRequest("meta_info.finish_reason must be of type stop, length or abort, got \(reason.text()).")
    }
  }
}

extension HiddenStates {
  /// As `meta_info.hidden_states`: the prompt's rows, then rows of the response one by one, or as several at once.
  fileprivate init?(json: JSONValue) {
    guard let chunks = json.array, let prompt = chunks.first?.array else { return nil }
    let rows = prompt + chunks.dropFirst().flatMap { chunk in
      chunk.array?.first?.array == nil ? [chunk] : chunk.array ?? []
    }
    let numbers = rows.map { ($0.array ?? []).compactMap(\.double).map { Float($0) } }
    let size = numbers.first?.count ?? 0
    guard size > 0, numbers.allSatisfy({ $0.count == size }) else { return nil }
    self.init(values: Data(numbers.joined().flatMap { withUnsafeBytes(of: $0) { Array($0) } }), size: size, promptCount: prompt.count)
  }
}
