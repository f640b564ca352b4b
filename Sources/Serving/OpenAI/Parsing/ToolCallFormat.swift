/// How a family of models writes calls of functions into its text, under SGLang's names (`--tool-call-parser`).
public enum ToolCallFormat: String, Sendable, CaseIterable {
  /// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, once for each call.
  case qwen25, qwen, hermes
  /// `{"name": …, "parameters": {…}}` alone, after `<|python_tag|>`, or several with `;` between them.
  case llama3
  /// `[TOOL_CALLS] [{"name": …, "arguments": {…}}, …]`.
  case mistral
  /// `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME`, and the arguments as a JSON code block.
  case deepseekv3

  package var grammar: ToolCallGrammar {
    switch self {
    case .qwen25, .qwen, .hermes: ToolCallGrammar(opening: "<tool_call>", fillers: ["</tool_call>", "<tool_call>"])
    case .llama3:
      ToolCallGrammar(opening: "<|python_tag|>", fillers: [";", "<|python_tag|>"], bareOpening: UInt8(ascii: "{"))
    case .mistral: ToolCallGrammar(opening: "[TOOL_CALLS]", fillers: ["[TOOL_CALLS]", "[", ",", "]"])
    case .deepseekv3:
      ToolCallGrammar(
        opening: "<｜tool▁calls▁begin｜>",
        fillers: ["```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", "<｜tool▁calls▁begin｜>"],
        head: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>")
    }
  }
}

/// Where calls stand in a text.
package struct ToolCallGrammar: Sendable {
  /// After this come calls.
  var opening: [UInt8]
  /// What may stand around calls, with space anywhere.
  var fillers: [[UInt8]]
  /// A text that begins with this byte may begin with a call, without an opening.
  var bareOpening: UInt8?
  /// What a call begins with when its name is not in the JSON: the name, the end of the line and a code block follow.
  var head: [UInt8]?

  init(opening: String, fillers: [String], bareOpening: UInt8? = nil, head: String? = nil) {
    self.opening = Array(opening.utf8)
    self.fillers = fillers.map { Array($0.utf8) }
    self.bareOpening = bareOpening
    self.head = head.map { Array($0.utf8) }
  }

  /// `[{"name": …, "parameters": {…}}, …]`: what responses are made to be where a call is required.
  static let array = ToolCallGrammar(opening: "", fillers: ["[", ",", "]"], bareOpening: UInt8(ascii: "["))
}
