import Foundation
import Hummingbird
import Inference
import JSON

extension ServerState {
  func chatCompletions(_ request: Request, _ context: ServingContext) async throws -> Response {
    let fields = try Fields(try await json(request))
    let given = try OpenAIOptions(
      fields,
      own: [
        "messages", "tools", "tool_choice", "logprobs", "top_logprobs", "chat_template_kwargs", "continue_final_message",
        "add_generation_prompt", "input_ids", "parallel_tool_calls", "separate_reasoning", "stream_reasoning",
      ], defaultMaxTokens: nil)
    guard let encoder else { throw InvalidRequest("This server has no tokenizer; use /generate with input_ids.") }
    let choice = try ToolChoice(fields)
    let chat = try ChatPrompt(fields, choice)
    let prompt = try chat.tokens(encoder)
    let options = try calling(choice, given)
    let parser = try messageParser(fields, options, choice, prompt: prompt, encoder)
    let logProbs = try fields.bool("logprobs") ?? false
    let top = try fields.int("top_logprobs") ?? 0
    guard logProbs || top == 0 else { throw InvalidRequest("top_logprobs needs logprobs to be true.") }
    let status = try await engine.status()
    let submission = try OpenAISubmission(
      [prompt], options, adapter: try adapter(options, status), logProbs: logProbs, topLogProbs: top, promptLogProbs: false,
      images: chat.images, limits: RequestLimits(status))
    let scope = try RequestScope(submission.requests.map(\.id), submission.names.groups, self, context)
    let writer = ChatWriter(
      envelope: OpenAIEnvelope(
        id: options.name ?? submission.requests[0].id,
        object: options.streams ? "chat.completion.chunk" : "chat.completion", model: options.model ?? modelName(status)),
      requests: submission.requests, options: options, encoder: encoder, hasLogProbs: logProbs, parser: parser)
    if options.streams { return eventStream(submission.requests, writer, scope) }
    return Response(json: writer.answer(try await outputs(of: submission.requests, scope)))
  }

  /// The options of a request that may call functions, or must.
  private func calling(_ choice: ToolChoice, _ options: OpenAIOptions) throws(InvalidRequest) -> OpenAIOptions {
    var options = options
    if let schema = try choice.schema() {
      guard options.sampling.isFree else {
        throw InvalidRequest(
          "tool_choice asks for a call, and response_format, json_schema, regex or ebnf for something else; give one of them.")
      }
      options.sampling.jsonSchema = schema
    }
    // The marks around calls may be special tokens.
    if choice.tools != nil, configuration.toolCallParser != nil { options.sampling.skipSpecialTokens = false }
    return options
  }

  private func messageParser(
    _ fields: Fields, _ options: OpenAIOptions, _ choice: ToolChoice, prompt: [Int], _ encoder: any PromptEncoder
  ) throws(InvalidRequest) -> ChatMessageParser {
    var parser = ChatMessageParser(calls: choice.parser(configuration.toolCallParser), isParallel: choice.isParallel)
    parser.streamsReasoning = try fields.bool("stream_reasoning") ?? true
    // A text that is bound to a grammar has no room for thoughts.
    if try fields.bool("separate_reasoning") ?? true, options.sampling.isFree, let format = configuration.reasoningParser {
      parser.reasoning = format.beginsWithThoughts(after: encoder.decode(Array(prompt.suffix(16))))
    }
    return parser
  }
}

extension SamplingParameters {
  /// Whether nothing binds the response to a grammar.
  fileprivate var isFree: Bool { jsonSchema == nil && regex == nil && ebnf == nil }
}

/// The prompt of a chat request: a conversation or, instead, token ids.
private struct ChatPrompt {
  private let conversation: Conversation
  private let tokens: [Int]?
  /// In the order of their places in the messages.
  private(set) var images: [Data] = []

  init(_ fields: Fields, _ choice: ToolChoice) throws(InvalidRequest) {
    tokens = try fields.ints("input_ids")
    var messages: [JSONValue] = []
    for message in try fields.array("messages") ?? [] { messages.append(try Self.flatten(message, &images)) }
    guard tokens != nil || !messages.isEmpty else { throw InvalidRequest("messages cannot be empty.") }
    let continues = try fields.bool("continue_final_message") ?? false
    let addsHead = try fields.bool("add_generation_prompt") ?? !continues
    guard !(continues && addsHead) else {
      throw InvalidRequest("Only one of continue_final_message and add_generation_prompt may be true.")
    }
    conversation = Conversation(
      messages: messages, tools: choice.tools,
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

  /// A message whose content, if it is a list of text parts, is made one text; pictures in it are left to the template, which
  /// makes their places. The arguments of whose calls are made
  /// objects, as templates of text models expect.
  private static func flatten(_ message: JSONValue, _ images: inout [Data]) throws(InvalidRequest) -> JSONValue {
    guard var object = message.object, object["role"]?.string != nil else {
      throw InvalidRequest("each element of messages must be an object with a role.")
    }
    if let calls = object["tool_calls"]?.array { object["tool_calls"] = .array(calls.map(withObject)) }
    switch object["content"] {
    case nil, .null:
      // An assistant that only calls says nothing.
      if object["role"] == "assistant" { object["content"] = "" }
      return .object(object)
    case .string: return .object(object)
    case .array(let parts):
      let pictures = try parts.map { part throws(InvalidRequest) in try picture(part) }
      guard pictures.allSatisfy({ $0 == nil }) else {
        images += pictures.compactMap { $0 }
        object["content"] = .array(zip(parts, pictures).map { $1 == nil ? $0 : ["type": "image"] })
        return .object(object)
      }
      var text = ""
      for part in parts {
        guard let piece = part["text"]?.string, part["type"]?.string ?? "text" == "text" else {
          let type = (part["type"] ?? .null).text()
          throw InvalidRequest("This server takes text and image_url only, but a message has a content part of type \(type).")
        }
        text += piece
      }
      object["content"] = .string(text)
      return .object(object)
    default: throw InvalidRequest("a message's content must be a string or an array of parts.")
    }
  }

  /// The picture of a content part; nil: it is of another kind.
  private static func picture(_ part: JSONValue) throws(InvalidRequest) -> Data? {
    guard part["type"] == "image_url" else { return nil }
    return try RequestPictures.picture(part["image_url"] ?? .null, "image_url")
  }

  /// A call whose arguments are an object rather than the text of one.
  private static func withObject(_ call: JSONValue) -> JSONValue {
    guard var object = call.object, var function = object["function"]?.object,
      let arguments = function["arguments"]?.string.flatMap({ try? JSONValue(parsing: $0) }), arguments.object != nil
    else { return call }
    function["arguments"] = arguments
    object["function"] = .object(function)
    return .object(object)
  }
}

/// Writes `/v1/chat/completions`: whole, or as a stream of new text.
private struct ChatWriter: EventWriter {
  let envelope: OpenAIEnvelope
  let requests: [GenerateRequest]
  let options: OpenAIOptions
  let encoder: any PromptEncoder
  let hasLogProbs: Bool
  let parser: ChatMessageParser
  private var sent: [SentPart]
  private var messages: [ChatMessage]
  private var ids: [ToolCallIDs]
  private var usage: OpenAIUsage

  init(
    envelope: OpenAIEnvelope, requests: [GenerateRequest], options: OpenAIOptions, encoder: any PromptEncoder,
    hasLogProbs: Bool, parser: ChatMessageParser
  ) {
    (self.envelope, self.requests, self.options, self.encoder) = (envelope, requests, options, encoder)
    (self.hasLogProbs, self.parser) = (hasLogProbs, parser)
    sent = Array(repeating: SentPart(), count: requests.count)
    messages = Array(repeating: ChatMessage(), count: requests.count)
    ids = Array(repeating: ToolCallIDs(), count: requests.count)
    usage = OpenAIUsage(requests, samples: options.samples)
  }

  func answer(_ outputs: [GenerateOutput]) -> JSONValue {
    var usage = usage
    for (i, output) in outputs.enumerated() { usage.note(i, output) }
    let choices = outputs.enumerated().map { i, output in
      let message = parser.parse(output)
      var ids = ids[i]
      ids.cover(message.calls.count)
      return choice(
        i, output, key: "message", message.json(ids.ids), calls: !message.calls.isEmpty, tokens: 0..<output.outputTokens.count)
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
    let tokens = sent[index].advance(output).tokens
    usage.note(index, output)
    let message = parser.parse(output)
    ids[index].cover(message.calls.count)
    var deltas = message.deltas(since: messages[index], ids[index].ids)
    messages[index] = message
    if deltas.isEmpty, !tokens.isEmpty || output.finishReason != nil {
      deltas.append(message.calls.isEmpty ? ["content": ""] : [:])
    }
    // The tokens are told of with the first delta, and the end with the last.
    for (i, delta) in deltas.enumerated() {
      var part = output
      if i < deltas.count - 1 { part.finishReason = nil }
      chunks.append(
        choice(
          index, part, key: "delta", .object(delta), calls: !message.calls.isEmpty,
          tokens: i == 0 ? tokens : tokens.upperBound..<tokens.upperBound))
    }
    return chunks.map { envelope.json(choices: [$0], ["usage": nil]).bytes() }
  }

  mutating func closing() -> [[UInt8]] {
    options.includeUsage ? [envelope.json(choices: [], ["usage": usage.json]).bytes()] : []
  }

  private func choice(
    _ index: Int, _ output: GenerateOutput, key: String, _ message: JSONValue, calls: Bool, tokens: Range<Int>
  ) -> JSONValue {
    let end = output.finishReason.openAIName
    var choice: JSONObject = [
      "index": .int(index), key: message, "logprobs": hasLogProbs ? logProbs(output, tokens) : nil,
      "finish_reason": calls && end == "stop" ? "tool_calls" : end, "matched_stop": output.finishReason.matchedStop,
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
