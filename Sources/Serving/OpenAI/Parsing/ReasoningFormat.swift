/// How a family of models separates its thoughts from its answer, under SGLang's names (`--reasoning-parser`).
///
/// All write `<think>thoughts</think>answer`; some begin to think without saying so.
public enum ReasoningFormat: String, Sendable, CaseIterable {
  case deepseekR1 = "deepseek-r1"
  case qwen3
  case qwen3Thinking = "qwen3-thinking"

  static let opening = "<think>"
  static let closing = "</think>"

  /// Whether a response to this prompt begins with thoughts, without an opening.
  package func beginsWithThoughts(after prompt: String) -> Bool {
    let end = prompt.utf8.reversed().drop(while: isJSONSpace)
    if end.starts(with: Self.opening.utf8.reversed()) { return true }
    if end.starts(with: Self.closing.utf8.reversed()) { return false }
    return self != .qwen3
  }

  /// The thoughts and the answer in a text. Of a text that goes on, what is found stays found: both only grow.
  /// - Parameters:
  ///   - begins: whether the text begins with thoughts without an opening.
  ///   - isFinal: whether no text follows; before, what may be the beginning of a mark, or space at an end, is held back.
  package static func split(_ text: String, begins: Bool, isFinal: Bool) -> (thoughts: String, answer: String) {
    let bytes = Array(text.utf8)
    var start = bytes.firstIndex { !isJSONSpace($0) } ?? bytes.count
    let rest = bytes[start...]
    if rest.starts(with: opening.utf8) {
      start += opening.utf8.count
    } else if !isFinal, opening.utf8.starts(with: rest) {
      return ("", "")
    } else if !begins {
      return ("", text)
    }
    start = bytes[start...].firstIndex { !isJSONSpace($0) } ?? bytes.count
    let closing = Array(closing.utf8)
    var end = bytes.count
    var answer = bytes.count
    if let mark = (start..<max(start, bytes.count - closing.count + 1)).first(where: { bytes[$0...].starts(with: closing) }) {
      end = mark
      answer = bytes[(mark + closing.count)...].firstIndex { !isJSONSpace($0) } ?? bytes.count
    } else if !isFinal {
      for length in stride(from: min(closing.count - 1, end - start), to: 0, by: -1)
      where bytes[(end - length)...].elementsEqual(closing.prefix(length)) {
        end -= length
        break
      }
    }
    while end > start, isJSONSpace(bytes[end - 1]) { end -= 1 }
    return (String(decoding: bytes[start..<end], as: UTF8.self), String(decoding: bytes[answer...], as: UTF8.self))
  }
}
