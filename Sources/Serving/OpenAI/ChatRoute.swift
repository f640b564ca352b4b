import Hummingbird
import Inference
import JSON

extension ServerState {
  func chatCompletions(_ request: Request, _ context: ServingContext) async throws -> Response {
    let fields = try Fields(try await json(request))
    let options = try OpenAIOptions(
      fields,
      own: [
        "messages", "tools", "tool_choice", "logprobs", "top_logprobs", "chat_template_kwargs", "continue_final_message",
        "add_generation_prompt", "input_ids",
      ], defaultMaxTokens: nil)
    guard let encoder else { throw InvalidRequest("This server has no tokenizer; use /generate with input_ids.") }
    let prompt = try ChatPrompt(fields).tokens(encoder)
    let logProbs = try fields.bool("logprobs") ?? false
    let top = try fields.int("top_logprobs") ?? 0
    guard logProbs || top == 0 else { throw InvalidRequest("top_logprobs needs logprobs to be true.") }
    let status = try await engine.status()
    let submission = try OpenAISubmission(
      [prompt], options, logProbs: logProbs, topLogProbs: top, promptLogProbs: false, limits: RequestLimits(status))
    let scope = try RequestScope(submission.requests.map(\.id), submission.names.groups, self, context)
    let writer = ChatWriter(
      envelope: OpenAIEnvelope(
        id: options.name ?? submission.requests[0].id,
        object: options.streams ? "chat.completion.chunk" : "chat.completion", model: options.model ?? modelName(status)),
      requests: submission.requests, options: options, encoder: encoder, hasLogProbs: logProbs)
    if options.streams { return eventStream(submission.requests, writer, scope) }
    return Response(json: writer.answer(try await outputs(of: submission.requests, scope)))
  }
}

/// The prompt of a chat request: a conversation or, instead, token ids.
private struct ChatPrompt {
  private let conversation: Conversation
  private let tokens: [Int]?

  init(_ fields: Fields) throws(InvalidRequest) {
    tokens = try fields.ints("input_ids")
    var messages: [JSONValue] = []
    for message in try fields.array("messages") ?? [] { messages.append(try Self.flatten(message)) }
    guard tokens != nil || !messages.isEmpty else { throw InvalidRequest("messages cannot be empty.") }
    let continues = try fields.bool("continue_final_message") ?? false
    let addsHead = try fields.bool("add_generation_prompt") ?? !continues
    guard !(continues && addsHead) else {
      throw InvalidRequest("Only one of continue_final_message and add_generation_prompt may be true.")
    }
    let tools = try fields.array("tools")
    conversation = Conversation(
      messages: messages, tools: fields["tool_choice"] == "none" ? nil : tools,
      ending: continues ? .insideLastMessage : addsHead ? .assistantHead : .lastMessage,
      variables: try fields.object("chat_template_kwargs") ?? [:])
  }

  /// - Throws: `InvalidRequest` with the template's complaint when it does not take the messages.
  func tokens(_ encoder: any PromptEncoder) throws -> [Int] {
    if let tokens { return tokens }
    do {
      return try encoder.encode(conversation)
    } catch {
      throw InvalidRequest("The chat template does not take these messages: \(error)")
    }
  }

  /// A message whose content, if it is a list of text parts, is made one text, as templates of text models expect.
  private static func flatten(_ message: JSONValue) throws(InvalidRequest) -> JSONValue {
    guard var object = message.object, object["role"]?.string != nil else {
      throw InvalidRequest("each element of messages must be an object with a role.")
    }
    switch object["content"] {
    case nil, .null, .string: return message
    case .array(let parts):
      var text = ""
      for part in parts {
        guard let piece = part["text"]?.string, part["type"]?.string ?? "text" == "text" else {
          let type = (part["type"] ?? .null).text()
          throw InvalidRequest("This server takes text only, but a message has a content part of type \(type).")
        }
        text += piece
      }
      object["content"] = .string(text)
      return .object(object)
    default: throw InvalidRequest("a message's content must be a string or an array of parts.")
    }
  }
}

/// Writes `/v1/chat/completions`: whole, or as a stream of new text.
private struct ChatWriter: EventWriter {
  let envelope: OpenAIEnvelope
  let requests: [GenerateRequest]
  let options: OpenAIOptions
  let encoder: any PromptEncoder
  let hasLogProbs: Bool
  private var sent: [SentPart]
  private var usage: OpenAIUsage

  init(
    envelope: OpenAIEnvelope, requests: [GenerateRequest], options: OpenAIOptions, encoder: any PromptEncoder,
    hasLogProbs: Bool
  ) {
    (self.envelope, self.requests, self.options, self.encoder) = (envelope, requests, options, encoder)
    self.hasLogProbs = hasLogProbs
    sent = Array(repeating: SentPart(), count: requests.count)
    usage = OpenAIUsage(requests, samples: options.samples)
  }

  func answer(_ outputs: [GenerateOutput]) -> JSONValue {
    var usage = usage
    for (i, output) in outputs.enumerated() { usage.note(i, output) }
    let choices = outputs.enumerated().map { i, output in
      choice(
        i, output, key: "message", ["role": "assistant", "content": .string(output.text), "reasoning_content": nil],
        tokens: 0..<output.outputTokens.count)
    }
    return envelope.json(choices: choices, ["usage": usage.json, "metadata": outputs[0].metadata])
  }

  mutating func events(_ index: Int, _ output: GenerateOutput) -> [[UInt8]] {
    var chunks: [JSONValue] = []
    if sent[index].isFirst {
      let opening: JSONValue = [
        "index": .int(index), "delta": ["role": "assistant", "content": ""], "logprobs": nil, "finish_reason": nil,
        "matched_stop": nil,
      ]
      chunks.append(opening)
    }
    let (text, tokens) = sent[index].advance(output)
    usage.note(index, output)
    if !text.isEmpty || !tokens.isEmpty || output.finishReason != nil {
      chunks.append(choice(index, output, key: "delta", ["content": .string(text)], tokens: tokens))
    }
    return chunks.map { envelope.json(choices: [$0], ["usage": nil]).bytes() }
  }

  mutating func closing() -> [[UInt8]] {
    options.includeUsage ? [envelope.json(choices: [], ["usage": usage.json]).bytes()] : []
  }

  private func choice(
    _ index: Int, _ output: GenerateOutput, key: String, _ message: JSONValue, tokens: Range<Int>
  ) -> JSONValue {
    var choice: JSONObject = [
      "index": .int(index), key: message, "logprobs": hasLogProbs ? logProbs(output, tokens) : nil,
      "finish_reason": output.finishReason.openAIName, "matched_stop": output.finishReason.matchedStop,
    ]
    if options.returnTokenIDs {
      choice["prompt_token_ids"] = .array(requests[index].tokens.map(JSONValue.int))
      choice["response_token_ids"] = .array(output.outputTokens[tokens].map(JSONValue.int))
    }
    return .object(choice)
  }

  private func logProbs(_ output: GenerateOutput, _ range: Range<Int>) -> JSONValue {
    let content = range.clamped(to: 0..<output.outputLogProbs.count).map { position -> JSONValue in
      var entry = token(output.outputLogProbs[position])
      let top = position < output.outputTopLogProbs.count ? output.outputTopLogProbs[position] : []
      entry["top_logprobs"] = .array(top.map { .object(token($0)) })
      return .object(entry)
    }
    return ["content": .array(content)]
  }

  private func token(_ entry: TokenLogProb) -> JSONObject {
    let text = encoder.decode([entry.token])
    return [
      "token": .string(text), "bytes": .array(text.utf8.map { .int(Int($0)) }), "logprob": entry.logProb.json,
    ]
  }
}
