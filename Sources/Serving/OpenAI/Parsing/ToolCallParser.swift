import JSON

/// A call of a function, as far as the model has written it.
package struct ToolCall: Sendable, Equatable {
  package var name: String
  /// JSON text.
  package var arguments: String

  package init(name: String, arguments: String) { (self.name, self.arguments) = (name, arguments) }
}

/// What a response says, and what it calls.
package struct ParsedText: Sendable, Equatable {
  package var content: String
  package var calls: [ToolCall]

  package init(content: String = "", calls: [ToolCall] = []) { (self.content, self.calls) = (content, calls) }
}

/// Finds the calls in a text. What is found in the beginning of a text stays found in all of it: content and arguments only
/// grow, so that a stream can send what is new.
package struct ToolCallParser: Sendable {
  let grammar: ToolCallGrammar
  /// Names that may be called; a call of anything else is content.
  let functions: Set<String>

  package init(grammar: ToolCallGrammar, functions: Set<String>) { (self.grammar, self.functions) = (grammar, functions) }

  /// - Parameter isFinal: whether no text follows; before, what may become the beginning of a call is held back.
  package func parse(_ text: String, isFinal: Bool) -> ParsedText {
    let bytes = Array(text.utf8)
    var result = ParsedText()
    var content: [UInt8] = []
    var index = 0
    func finish(_ end: Int) -> ParsedText {
      result.content = String(decoding: content + bytes[index..<max(index, end)], as: UTF8.self)
      return result
    }
    if let bare = grammar.bareOpening {
      let first = skipSpace(bytes, 0)
      if first == bytes.count { return finish(isFinal ? bytes.count : 0) }
      if bytes[first] == bare {
        switch calls(bytes, first, isFinal, &result.calls) {
        case .pending: return finish(isFinal && result.calls.isEmpty ? bytes.count : 0)
        case .content(let next): index = next ?? 0
        }
      }
    }
    while let opening = find(grammar.opening, bytes, from: index) {
      let before = result.calls.count
      switch calls(bytes, opening + grammar.opening.count, isFinal, &result.calls) {
      case .pending:
        if isFinal && result.calls.count == before { return finish(bytes.count) }
        return finish(trimmed(bytes, index, opening))
      case .content(let next?):
        content += bytes[index..<trimmed(bytes, index, opening)]
        index = next
      case .content(nil):
        content += bytes[index..<opening + grammar.opening.count]
        index = opening + grammar.opening.count
      }
    }
    if isFinal { return finish(bytes.count) }
    var end = bytes.count
    for length in stride(from: min(grammar.opening.count - 1, end - index), to: 0, by: -1)
    where bytes[(end - length)...].elementsEqual(grammar.opening.prefix(length)) {
      end -= length
      break
    }
    return finish(trimmed(bytes, index, end))
  }

  private enum End {
    /// The text ends among the calls.
    case pending
    /// Content goes on here, after calls; nil: there were none.
    case content(Int?)
  }

  /// Reads calls from `start` on.
  private func calls(_ bytes: [UInt8], _ start: Int, _ isFinal: Bool, _ calls: inout [ToolCall]) -> End {
    var (index, count) = (start, 0)
    while true {
      index = skipSpace(bytes, index)
      if index == bytes.count { return .pending }
      if let filler = grammar.fillers.first(where: { bytes[index...].starts(with: $0) }) {
        index += filler.count
        continue
      }
      let rest = bytes[index...]
      if !isFinal, grammar.fillers.contains(where: { $0.count > rest.count && $0.starts(with: rest) }) { return .pending }
      switch ToolCallReader(bytes, functions).call(at: index, head: grammar.head) {
      case .pending: return .pending
      case .none: return .content(count == 0 ? nil : index)
      case .call(let call, let end):
        calls.append(call)
        count += 1
        guard let end else { return .pending }
        index = end
      }
    }
  }

  private func trimmed(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Int {
    var end = end
    while end > start, isJSONSpace(bytes[end - 1]) { end -= 1 }
    return end
  }

  private func skipSpace(_ bytes: [UInt8], _ start: Int) -> Int {
    bytes[start...].firstIndex { !isJSONSpace($0) } ?? bytes.count
  }

  private func find(_ mark: [UInt8], _ bytes: [UInt8], from start: Int) -> Int? {
    guard let first = mark.first, bytes.count - start >= mark.count else { return nil }
    return (start...bytes.count - mark.count).first { bytes[$0] == first && bytes[$0...].starts(with: mark) }
  }
}

func isJSONSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
