import Hummingbird
import Inference
import JSON

extension ServerState {
  /// OpenAI's default for completions.
  private static let defaultMaxTokens = 16

  func completions(_ request: Request, _ context: ServingContext) async throws -> Response {
    let fields = try Fields(try await json(request))
    let options = try OpenAIOptions(fields, own: ["prompt", "echo", "logprobs"], defaultMaxTokens: Self.defaultMaxTokens)
    guard let encoder else { throw InvalidRequest("This server has no tokenizer; use /generate with input_ids.") }
    let prompts = try CompletionPrompts(fields, encoder)
    let echo = try fields.bool("echo") ?? false
    let top = try fields.int("logprobs")
    let status = try await engine.status()
    let submission = try OpenAISubmission(
      prompts.tokens, options, adapter: try adapter(options, status), logProbs: top != nil, topLogProbs: top ?? 0,
      promptLogProbs: echo && top != nil, limits: RequestLimits(status))
    let scope = try RequestScope(submission.requests.map(\.id), submission.names.groups, self, context)
    let writer = CompletionWriter(
      envelope: OpenAIEnvelope(
        id: options.name ?? submission.requests[0].id, object: "text_completion", model: options.model ?? modelName(status)),
      requests: submission.requests, options: options, encoder: encoder, hasLogProbs: top != nil,
      echo: echo ? prompts.tokens.map(prompts.text) : nil)
    if options.streams { return eventStream(submission.requests, writer, scope) }
    return Response(json: writer.answer(try await outputs(of: submission.requests, scope)))
  }
}

/// `prompt`: one or several, as text or as token ids.
private struct CompletionPrompts {
  let tokens: [[Int]]
  private let encoder: any PromptEncoder
  private let texts: [String]?

  init(_ fields: Fields, _ encoder: any PromptEncoder) throws {
    self.encoder = encoder
    guard let prompt = fields["prompt"] else { throw InvalidRequest("prompt is needed.") }
    texts = prompt.string.map { [$0] } ?? (prompt.array?.isEmpty == true ? nil : prompt.strings)
    if let texts {
      tokens = try texts.map(encoder.encode)
    } else if let ids = prompt.ints {
      tokens = [ids]
    } else if let prompts = prompt.array?.compactMap(\.ints), prompts.count == prompt.array?.count {
      tokens = prompts
    } else {
      throw InvalidRequest("prompt must be a string, an array of strings, an array of token ids, or an array of such arrays.")
    }
    guard !tokens.isEmpty, tokens.allSatisfy({ !$0.isEmpty }), texts?.contains("") != true else {
      throw InvalidRequest("prompt cannot be empty.")
    }
  }

  /// The prompt as it was given, for `echo`.
  func text(_ tokens: [Int]) -> String {
    guard let texts, let index = self.tokens.firstIndex(of: tokens) else { return encoder.decode(tokens) }
    return texts[index]
  }
}

/// Writes `/v1/completions`: whole, or as a stream of new text.
private struct CompletionWriter: EventWriter {
  let envelope: OpenAIEnvelope
  let requests: [GenerateRequest]
  let options: OpenAIOptions
  let encoder: any PromptEncoder
  let hasLogProbs: Bool
  /// The text of each prompt, to be repeated before its responses.
  let echo: [String]?
  private var sent: [SentPart]
  private var usage: OpenAIUsage

  init(
    envelope: OpenAIEnvelope, requests: [GenerateRequest], options: OpenAIOptions, encoder: any PromptEncoder,
    hasLogProbs: Bool, echo: [String]?
  ) {
    (self.envelope, self.requests, self.options, self.encoder) = (envelope, requests, options, encoder)
    (self.hasLogProbs, self.echo) = (hasLogProbs, echo)
    sent = Array(repeating: SentPart(), count: requests.count)
    usage = OpenAIUsage(requests, samples: options.samples)
  }

  func answer(_ outputs: [GenerateOutput]) -> JSONValue {
    var usage = usage
    for (i, output) in outputs.enumerated() { usage.note(i, output) }
    let choices = outputs.enumerated().map { i, output in
      choice(i, output, text: prefix(i) + output.text, tokens: 0..<output.outputTokens.count, withPrompt: echo != nil)
    }
    return envelope.json(choices: choices, ["usage": usage.json, "metadata": outputs[0].metadata])
  }

  mutating func events(_ index: Int, _ output: GenerateOutput) -> [[UInt8]] {
    let isFirst = sent[index].isFirst
    let (text, tokens) = sent[index].advance(output)
    usage.note(index, output)
    guard isFirst || !text.isEmpty || !tokens.isEmpty || output.finishReason != nil else { return [] }
    let choice = choice(
      index, output, text: (isFirst ? prefix(index) : "") + text, tokens: tokens, withPrompt: isFirst && echo != nil)
    return [envelope.json(choices: [choice], ["usage": nil]).bytes()]
  }

  mutating func closing() -> [[UInt8]] {
    options.includeUsage ? [envelope.json(choices: [], ["usage": usage.json]).bytes()] : []
  }

  private func prefix(_ index: Int) -> String { echo?[index / options.samples] ?? "" }

  private func choice(
    _ index: Int, _ output: GenerateOutput, text: String, tokens: Range<Int>, withPrompt: Bool
  ) -> JSONValue {
    var choice: JSONObject = [
      "index": .int(index), "text": .string(text),
      "logprobs": hasLogProbs ? logProbs(output, tokens, withPrompt) : nil,
      "finish_reason": output.finishReason.openAIName, "matched_stop": output.finishReason.matchedStop,
    ]
    if options.returnTokenIDs {
      choice["prompt_token_ids"] = .array(requests[index].tokens.map(JSONValue.int))
      choice["response_token_ids"] = .array(output.outputTokens[tokens].map(JSONValue.int))
    }
    return .object(choice)
  }

  /// SGLang gives no text offsets either: they are all -1.
  private func logProbs(_ output: GenerateOutput, _ range: Range<Int>, _ withPrompt: Bool) -> JSONValue {
    let prompt = withPrompt ? (output.inputLogProbs, output.inputTopLogProbs) : ([], [])
    let range = range.clamped(to: 0..<output.outputLogProbs.count)
    let entries = prompt.0 + output.outputLogProbs[range]
    let top = prompt.1 + output.outputTopLogProbs[range.clamped(to: 0..<output.outputTopLogProbs.count)]
    return [
      "text_offset": .array(entries.map { _ in -1 }),
      "token_logprobs": .array(entries.map { $0.logProb.json }),
      "tokens": .array(entries.map { .string(encoder.decode([$0.token])) }),
      "top_logprobs": .array(
        top.map { candidates in
          candidates.isEmpty
            ? .null : .object(JSONObject(candidates.map { (encoder.decode([$0.token]), $0.logProb.json) }))
        }),
    ]
  }
}

extension Float? {
  /// null for what JSON cannot say.
  var json: JSONValue { flatMap { $0.isFinite ? .double(Double($0)) : nil } ?? .null }
}
