import Foundation
import JSON

extension ChatTemplate {
  private static let mark = "CONTINUE_FINAL_MESSAGE_TAG "

  /// The text of a conversation that ends inside its last message, so that a model goes on with it.
  ///
  /// - Parameter field: the key of the last message whose text is continued, such as `content` or `reasoning_content`.
  public func renderContinuingFinalMessage(
    messages: [JSONValue], field: String = "content", tools: [JSONValue]? = nil, documents: [JSONValue]? = nil,
    variables: [String: JSONValue] = [:], now: Date = Date()
  ) throws -> String {
    var messages = try Self.normalized(messages)
    let last = messages.count - 1
    guard let value = messages[last][field], !value.isNull else {
      throw failure("the final message cannot be continued, because it has no '\(field)'.")
    }
    var fields = [field]
    if Self.reasoningFields.contains(field) { fields = Self.reasoningFields.filter { messages[last][$0] == value } }
    guard fields.contains(where: { source.contains($0) }) else {
      throw failure("the final message cannot be continued at '\(field)', because the template does not read it.")
    }
    let text: String
    switch value {
    case .string(let content):
      text = content
      for field in fields { messages[last][field] = .string(content + Self.mark) }
    case .array(var parts):
      guard let i = parts.lastIndex(where: { $0["text"]?.string != nil }), case .object(var part) = parts[i] else {
        throw failure("the final message cannot be continued, because its '\(field)' holds no text.")
      }
      text = part["text"]!.string!
      part["text"] = .string(text + Self.mark)
      parts[i] = .object(part)
      for field in fields { messages[last][field] = .array(parts) }
    default: throw failure("the final message cannot be continued at '\(field)', because it is \(value.kind).")
    }
    return try cut(try render(messages, tools, documents, false, variables, now).text, after: text)
  }

  /// Ends the rendered text where the mark stands. A template that trims the message trims the mark's own blank too;
  /// then the blanks before it go as well.
  private func cut(_ rendered: String, after text: String) throws -> String {
    let mark = String(Self.mark.dropLast())
    let isThere = rendered.firstByteOffset(of: text.pythonStripped()) != nil
    guard isThere, let offset = rendered.lastByteOffset(of: mark) else {
      throw failure("the final message cannot be continued, because the template changes or drops its text.")
    }
    let head = String(decoding: rendered.utf8.prefix(offset), as: UTF8.self)
    let keepsBlank = rendered.utf8.dropFirst(offset).starts(with: Self.mark.utf8)
    return keepsBlank ? head : head.pythonStripped(left: false)
  }
}
