import Foundation
import Inference
import JSON

/// Writes the updates of one request as `/generate` answers them. Chunks are cumulative, so what earlier ones wrote is kept,
/// or incremental: then text, tokens and log-probs are those that earlier ones did not have.
struct GenerateEncoder: Sendable {
  let request: GenerateRequest
  /// Gives the text of a token in log-prob triples; nil leaves it null.
  let texts: (any PromptEncoder)?
  let includesPrompt: Bool

  private let isIncremental: Bool
  /// How many bytes of the text are written.
  private var textCount = 0
  private var outputIDs, inputLogProbs, outputLogProbs, inputTop, outputTop, inputTokenIDs, outputTokenIDs: GrowingArray

  init(_ request: GenerateRequest, texts: (any PromptEncoder)?, includesPrompt: Bool, isIncremental: Bool = false) {
    (self.request, self.texts, self.includesPrompt) = (request, texts, includesPrompt)
    self.isIncremental = isIncremental
    let array = GrowingArray(isIncremental: isIncremental)
    (outputIDs, inputLogProbs, outputLogProbs, inputTop, outputTop) = (array, array, array, array, array)
    (inputTokenIDs, outputTokenIDs) = (array, array)
  }

  /// The JSON object of an update.
  /// - Parameter index: the request's place in a batch stream.
  mutating func encode(_ output: GenerateOutput, index: Int? = nil) -> [UInt8] {
    var json = ByteWriter()
    json.raw("{\"text\":")
    json.value(.string(isIncremental ? String(decoding: output.text.utf8.dropFirst(textCount), as: UTF8.self) : output.text))
    textCount = output.text.utf8.count
    json.raw(",\"output_ids\":")
    json.raw(outputIDs.text(of: output.outputTokens) { $0.int($1) })
    if includesPrompt {
      json.raw(",\"prompt_token_ids\":")
      json.value(.array(request.tokens.map(JSONValue.int)))
    }
    json.raw(",\"meta_info\":{\"id\":")
    json.value(.string(output.id))
    json.raw(",\"finish_reason\":")
    json.value(output.finishReason.json)
    json.raw(",\"prompt_tokens\":")
    json.int(output.promptTokens)
    json.raw(",\"weight_version\":")
    json.value(.string(output.weightVersion))
    json.raw(",\"num_retractions\":")
    json.int(output.retractions)
    if request.returnLogProbs { writeLogProbs(output, &json) }
    json.raw(",\"reasoning_tokens\":0,\"completion_tokens\":")
    json.int(output.outputTokens.count)
    json.raw(",\"cached_tokens\":")
    json.int(output.cachedTokens)
    if output.finishReason != nil {
      json.raw(",\"weight_versions\":")
      json.value(output.weightSpans)
    }
    if let experts = output.routedExperts {
      json.raw(",\"routed_experts\":")
      json.value(.string(experts.base64EncodedString()))
    }
    if let states = output.hiddenStates {
      json.raw(",\"hidden_states\":")
      write(states, &json)
    }
    if let counts = output.speculation, output.finishReason != nil { write(counts, &json) }
    json.raw(",\"cached_tokens_details\":")
    json.value(output.cachedTokens == 0 ? nil : ["device": .int(output.cachedTokens), "host": 0])
    json.raw(",\"dp_rank\":null")
    if output.finishReason != nil {
      json.raw(",\"e2e_latency\":")
      json.value(.double(output.endToEndLatency))
      json.raw(",\"first_token_latency\":")
      json.value(.double(output.firstTokenLatency))
      json.raw(",\"response_sent_to_client_ts\":")
      json.value(.double(Date().timeIntervalSince1970))
    }
    json.raw("}")
    if let index {
      json.raw(",\"index\":")
      json.int(index)
    }
    json.raw("}")
    return json.bytes
  }

  /// The prompt's as one array of arrays, then an array for each token of the response that was run.
  private func write(_ states: HiddenStates, _ json: inout ByteWriter) {
    func array<Element>(_ elements: some Sequence<Element>, _ write: (Element) -> Void) {
      json.raw("[")
      for (i, element) in elements.enumerated() {
        if i > 0 { json.comma() }
        write(element)
      }
      json.raw("]")
    }
    func row(_ values: [Float]) { array(values) { json.float($0) } }
    let rows = states.rows
    json.raw("[")
    array(rows.prefix(states.promptCount), row)
    for values in rows.dropFirst(states.promptCount) {
      json.comma()
      row(values)
    }
    json.raw("]")
  }

  private func write(_ counts: SpeculationCounts, _ json: inout ByteWriter) {
    json.raw(",\"spec_accept_rate\":")
    json.value(.double(counts.acceptRate))
    json.raw(",\"spec_accept_length\":")
    json.value(.double(counts.acceptLength))
    json.raw(",\"spec_verify_ct\":")
    json.int(counts.verifications)
    json.raw(",\"spec_num_correct_drafts\":")
    json.int(counts.correctDrafts)
    json.raw(",\"spec_num_proposed_drafts\":")
    json.int(counts.proposedDrafts)
  }

  private mutating func writeLogProbs(_ output: GenerateOutput, _ json: inout ByteWriter) {
    let texts = texts
    func one(_ json: inout ByteWriter, _ entry: TokenLogProb) { json.triple(entry, text: texts?.decode([entry.token])) }
    func several(_ json: inout ByteWriter, _ entries: [TokenLogProb]) {
      guard !entries.isEmpty else { return json.raw("null") }
      json.raw("[")
      for (i, entry) in entries.enumerated() {
        if i > 0 { json.comma() }
        one(&json, entry)
      }
      json.raw("]")
    }
    json.raw(",\"input_token_logprobs\":")
    json.raw(inputLogProbs.text(of: output.inputLogProbs, write: one))
    json.raw(",\"output_token_logprobs\":")
    json.raw(outputLogProbs.text(of: output.outputLogProbs, write: one))
    json.raw(",\"output_token_logprobs_length\":")
    json.int(output.outputLogProbs.count)
    if request.topLogProbs > 0 {
      json.raw(",\"input_top_logprobs\":")
      json.raw(inputTop.text(of: output.inputTopLogProbs, write: several))
      json.raw(",\"output_top_logprobs\":")
      json.raw(outputTop.text(of: output.outputTopLogProbs, write: several))
    }
    if !request.tokenIDsLogProb.isEmpty {
      json.raw(",\"input_token_ids_logprobs\":")
      json.raw(inputTokenIDs.text(of: output.inputTokenIDsLogProbs, write: several))
      json.raw(",\"output_token_ids_logprobs\":")
      json.raw(outputTokenIDs.text(of: output.outputTokenIDsLogProbs, write: several))
    }
  }
}

extension FinishReason? {
  /// As `meta_info.finish_reason`.
  var json: JSONValue {
    switch self {
    case nil: nil
    case .length(let count): ["type": "length", "length": .int(count)]
    case .stopToken(let token): ["type": "stop", "matched": .int(token)]
    case .stopString(let text): ["type": "stop", "matched": .string(text)]
    case .abort(let message): ["type": "abort", "message": .string(message), "status_code": nil, "err_type": nil]
    }
  }
}

extension GenerateOutput {
  /// As `meta_info.weight_versions`.
  var weightSpans: JSONValue {
    let all = WeightVersionSpan(version: weightVersion, start: 0, end: outputTokens.count)
    return .array(
      (weightVersions.isEmpty ? [all] : weightVersions).map {
        ["version": .string($0.version), "start": .int($0.start), "end": .int($0.end)]
      })
  }
}

/// What `/generate` answers for a finished request, as JSON text.
public func generateResponse(_ output: GenerateOutput, to request: GenerateRequest) -> String {
  var encoder = GenerateEncoder(request, texts: nil, includesPrompt: false)
  return String(decoding: encoder.encode(output), as: UTF8.self)
}
