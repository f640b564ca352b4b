import Inference
import JSON

/// Reads the parts of an assistant's message out of the text of a response.
struct ChatMessageParser: Sendable {
  /// nil: thoughts are not told apart. Whether a response begins with thoughts without saying so.
  var reasoning: Bool?
  /// Whether thoughts are sent as they come, or when they are complete.
  var streamsReasoning = true
  var calls: ToolCallParser?
  var isParallel = true

  func parse(_ output: GenerateOutput) -> ChatMessage {
    let isFinal = output.finishReason != nil
    var message = ChatMessage()
    var answer = output.text
    if let reasoning {
      (message.reasoning, answer) = ReasoningFormat.split(answer, begins: reasoning, isFinal: isFinal)
      if !streamsReasoning, !isFinal, answer.isEmpty { message.reasoning = "" }
    }
    if let calls {
      let parsed = calls.parse(answer, isFinal: isFinal)
      (message.content, message.calls) = (parsed.content, isParallel ? parsed.calls : Array(parsed.calls.prefix(1)))
    } else {
      message.content = answer
    }
    return message
  }
}

/// An assistant's message, as far as it has come.
struct ChatMessage: Sendable, Equatable {
  var reasoning = ""
  var content = ""
  var calls: [ToolCall] = []

  /// As a choice's `message`.
  /// - Parameter ids: of the calls.
  func json(_ ids: [String]) -> JSONValue {
    var message: JSONObject = [
      "role": "assistant", "content": content.isEmpty && !calls.isEmpty ? .null : .string(content),
      "reasoning_content": reasoning.isEmpty ? .null : .string(reasoning),
    ]
    if !calls.isEmpty {
      message["tool_calls"] = .array(
        calls.enumerated().map { index, call in
          [
            "id": .string(ids[index]), "index": .int(index), "type": "function",
            "function": ["name": .string(call.name), "arguments": .string(call.arguments)],
          ]
        })
    }
    return .object(message)
  }

  /// What is new since `sent`, as deltas of a stream, in their order.
  func deltas(since sent: ChatMessage, _ ids: [String]) -> [JSONObject] {
    var deltas: [JSONObject] = []
    func rest(_ text: String, _ sent: String) -> String { String(decoding: text.utf8.dropFirst(sent.utf8.count), as: UTF8.self) }
    let (thoughts, text) = (rest(reasoning, sent.reasoning), rest(content, sent.content))
    if !thoughts.isEmpty { deltas.append(["reasoning_content": .string(thoughts)]) }
    if !text.isEmpty { deltas.append(["content": .string(text)]) }
    for (index, call) in calls.enumerated() {
      let before = index < sent.calls.count ? sent.calls[index] : nil
      let arguments = rest(call.arguments, before?.arguments ?? "")
      guard before == nil || !arguments.isEmpty else { continue }
      var function: JSONObject = ["arguments": .string(arguments)]
      var entry: JSONObject = ["index": .int(index), "type": "function"]
      if before == nil {
        function["name"] = .string(call.name)
        entry["id"] = .string(ids[index])
      }
      entry["function"] = .object(function)
      deltas.append(["tool_calls": [.object(entry)]])
    }
    return deltas
  }
}

/// Names for the calls of a response, each made once.
struct ToolCallIDs: Sendable {
  private(set) var ids: [String] = []

  mutating func cover(_ count: Int) {
    while ids.count < count { ids.append("call_" + RequestNames.unique().prefix(24)) }
  }
}
