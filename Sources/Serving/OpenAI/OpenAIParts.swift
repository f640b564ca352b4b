import Foundation
import Inference
import JSON

/// The parts that all OpenAI answers are made of.
struct OpenAIEnvelope: Sendable {
  var id: String
  var object: String
  var model: String
  var created = Int(Date().timeIntervalSince1970)

  func json(choices: [JSONValue], _ rest: KeyValuePairs<String, JSONValue>) -> JSONValue {
    .object(
      JSONObject(
        [
          ("id", .string(id)), ("object", .string(object)), ("created", .int(created)), ("model", .string(model)),
          ("choices", .array(choices)),
        ] + rest.map { ($0.key, $0.value) }))
  }
}

extension FinishReason? {
  /// As a choice's `finish_reason`.
  var openAIName: JSONValue {
    switch self {
    case nil: nil
    case .length: "length"
    case .stopToken, .stopString: "stop"
    case .abort: "abort"
    }
  }

  /// As a choice's `matched_stop`.
  var matchedStop: JSONValue {
    switch self {
    case .stopToken(let token): .int(token)
    case .stopString(let text): .string(text)
    default: nil
    }
  }
}

/// Token counts of some responses. A prompt sampled several times is counted once.
struct OpenAIUsage: Sendable {
  private(set) var prompt: Int
  private var completion: [Int]

  init(_ requests: [GenerateRequest], samples: Int) {
    prompt = stride(from: 0, to: requests.count, by: samples).reduce(0) { $0 + requests[$1].tokens.count }
    completion = Array(repeating: 0, count: requests.count)
  }

  mutating func note(_ index: Int, _ output: GenerateOutput) { completion[index] = output.outputTokens.count }

  var json: JSONValue {
    let completion = completion.reduce(0, +)
    return [
      "prompt_tokens": .int(prompt), "total_tokens": .int(prompt + completion), "completion_tokens": .int(completion),
      "prompt_tokens_details": nil, "reasoning_tokens": 0, "completion_tokens_details": nil,
    ]
  }
}

extension GenerateOutput {
  /// As `metadata` of an OpenAI answer.
  var metadata: JSONValue { ["weight_version": .string(weightVersion), "weight_versions": weightSpans] }
}

/// What of a response a stream has sent.
struct SentPart: Sendable {
  private var text = 0
  private(set) var tokens = 0
  private(set) var isFirst = true

  /// The text and the tokens that are new in this update.
  mutating func advance(_ output: GenerateOutput) -> (text: String, tokens: Range<Int>) {
    let new = String(decoding: output.text.utf8.dropFirst(text), as: UTF8.self)
    let range = min(tokens, output.outputTokens.count)..<output.outputTokens.count
    (text, tokens, isFirst) = (max(text, output.text.utf8.count), output.outputTokens.count, false)
    return (new, range)
  }
}
