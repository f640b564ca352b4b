import Foundation
import JSON

/// A model's chat template: it turns messages into the text that the model was trained on.
///
/// It is a Jinja template, rendered as `transformers`' `apply_chat_template` does: jinja2's immutable sandbox with
/// `trim_blocks`, `lstrip_blocks`, loop controls, `raise_exception`, `strftime_now` and `{% generation %}` blocks.
/// Templates are not trusted: one that does not end, grows or recurses without bound is an error.
public struct ChatTemplate: Sendable {
  public let source: String
  private let statements: [JinjaStatement]

  /// Reads a template; an error names the line that is wrong.
  public init(source: String) throws {
    self.source = source
    statements = try JinjaParser.parse(source)
  }

  /// A rendered conversation and where its `{% generation %}` blocks lie.
  public struct Rendered: Sendable, Equatable {
    public var text: String
    /// Ranges of UTF-8 bytes of `text`, in the order in which the blocks were rendered.
    public var generated: [Range<Int>]

    public init(text: String, generated: [Range<Int>]) { (self.text, self.generated) = (text, generated) }
  }

  /// The text of a conversation.
  ///
  /// - Parameters:
  ///   - messages: objects with `role`, `content` and whatever else the template reads. Keys whose value is null are
  ///     dropped, and reasoning is passed under the names `reasoning_content` and `thinking`, as `transformers` does.
  ///   - tools: JSON schemas of functions.
  ///   - documents: objects with `title` and `text`, for retrieval.
  ///   - addGenerationPrompt: whether the text ends with the head of an assistant message.
  ///   - variables: special tokens (`bos_token`, `eos_token`) and the template's own options (`enable_thinking`).
  ///   - now: the time that `strftime_now` prints, in the local time zone.
  public func render(
    messages: [JSONValue], tools: [JSONValue]? = nil, documents: [JSONValue]? = nil, addGenerationPrompt: Bool = false,
    variables: [String: JSONValue] = [:], now: Date = Date()
  ) throws -> String {
    try renderWithGenerationMask(
      messages: messages, tools: tools, documents: documents, addGenerationPrompt: addGenerationPrompt,
      variables: variables, now: now
    ).text
  }

  /// The text of a conversation, and which parts of it the assistant wrote according to the template.
  public func renderWithGenerationMask(
    messages: [JSONValue], tools: [JSONValue]? = nil, documents: [JSONValue]? = nil, addGenerationPrompt: Bool = false,
    variables: [String: JSONValue] = [:], now: Date = Date()
  ) throws -> Rendered {
    try render(try Self.normalized(messages), tools, documents, addGenerationPrompt, variables, now)
  }

  /// Renders any template with any variables.
  package func render(variables: [String: JSONValue], now: Date = Date()) throws -> String {
    try JinjaInterpreter(now: now).render(statements, variables.mapValues { JinjaValue($0) })
  }

  func render(
    _ messages: [JSONObject], _ tools: [JSONValue]?, _ documents: [JSONValue]?, _ addGenerationPrompt: Bool,
    _ variables: [String: JSONValue], _ now: Date
  ) throws -> Rendered {
    var values = variables.mapValues { JinjaValue($0) }
    values["messages"] = .list(messages.map { .dictionary(JinjaDictionary($0)) })
    values["tools"] = tools.map { .list($0.map { JinjaValue($0) }) } ?? JinjaValue.none
    values["documents"] = documents.map { .list($0.map { JinjaValue($0) }) } ?? JinjaValue.none
    values["add_generation_prompt"] = .bool(addGenerationPrompt)
    let interpreter = JinjaInterpreter(now: now)
    let text = try interpreter.render(statements, values)
    return Rendered(text: text, generated: interpreter.generated)
  }

  /// The names under which messages carry their reasoning; the first is the one that templates should read.
  static let reasoningFields = ["reasoning_content", "thinking", "reasoning"]

  /// Messages as templates expect them: no null values, and reasoning under every name that templates read.
  static func normalized(_ messages: [JSONValue]) throws -> [JSONObject] {
    guard !messages.isEmpty else { throw failure("a conversation needs at least one message.") }
    return try messages.enumerated().map { i, message in
      guard case .object(let object) = message else { throw failure("message \(i) must be an object, not \(message.kind).") }
      let kept = JSONObject(object.pairs.filter { !$0.value.isNull })
      guard let reasoning = reasoningFields.lazy.compactMap({ kept[$0] }).first else { return kept }
      var result = JSONObject()
      result["thinking"] = reasoning
      for (key, value) in kept.pairs { result[key] = value }
      result["reasoning_content"] = reasoning
      return result
    }
  }
}
