import JSON

/// Reads one call in a text that may end anywhere.
struct ToolCallReader {
  enum Result: Equatable {
    /// The text ends before it is known whether this is a call.
    case pending
    case none
    /// - Parameter end: where it ends; nil: the text ends before.
    case call(ToolCall, end: Int?)
  }

  private let bytes: [UInt8]
  private let functions: Set<String>

  init(_ bytes: [UInt8], _ functions: Set<String>) { (self.bytes, self.functions) = (bytes, functions) }

  func call(at start: Int, head: [UInt8]?) -> Result {
    guard let head else { return object(at: start) }
    let rest = bytes[start...]
    guard rest.count >= head.count else { return head.starts(with: rest) ? .pending : .none }
    guard rest.starts(with: head) else { return .none }
    let nameStart = start + head.count
    guard let lineEnd = bytes[nameStart...].firstIndex(of: UInt8(ascii: "\n")) else { return .pending }
    let name = String(decoding: bytes[nameStart..<lineEnd], as: UTF8.self)
    guard functions.contains(name) else { return .none }
    var index = skipSpace(lineEnd)
    let fence = Array("```json".utf8)
    if bytes.count - index < fence.count, fence.starts(with: bytes[index...]) { return partial(name, nil, nil) }
    if bytes[index...].starts(with: fence) { index = skipSpace(index + fence.count) }
    if index == bytes.count { return partial(name, nil, nil) }
    let end = valueEnd(index)
    return partial(name, index..<(end ?? bytes.count), end)
  }

  /// `{"name": …, "arguments": …}`.
  private func object(at start: Int) -> Result {
    guard bytes[start] == UInt8(ascii: "{") else { return .none }
    var name: String?
    var arguments: Range<Int>?
    var index = start + 1
    /// The text ends here.
    func cut() -> Result { name.map { partial($0, arguments, nil) } ?? .pending }
    /// What follows is no JSON; a call whose name is known stays one.
    func broken(_ index: Int) -> Result { name.map { partial($0, arguments, index) } ?? .none }
    while true {
      index = skipSpace(index)
      guard index < bytes.count else { return cut() }
      guard bytes[index] == UInt8(ascii: "\"") else { return broken(index) }
      guard let keyEnd = valueEnd(index) else { return cut() }
      let key = string(index..<keyEnd)
      let isArguments = key == "arguments" || key == "parameters"
      guard name != nil || isArguments || ["name", "type", "id"].contains(key) else { return .none }
      index = skipSpace(keyEnd)
      guard index < bytes.count else { return cut() }
      guard bytes[index] == UInt8(ascii: ":") else { return broken(index) }
      index = skipSpace(index + 1)
      guard index < bytes.count else { return cut() }
      let end = valueEnd(index)
      if isArguments, arguments == nil { arguments = index..<(end ?? bytes.count) }
      guard let end else { return cut() }
      if key == "name", name == nil {
        guard let given = string(index..<end), functions.contains(given) else { return .none }
        name = given
      }
      index = skipSpace(end)
      guard index < bytes.count else { return cut() }
      switch bytes[index] {
      case UInt8(ascii: ","): index += 1
      case UInt8(ascii: "}"): return name.map { partial($0, arguments, index + 1) } ?? .none
      default: return broken(index)
      }
    }
  }

  /// - Parameter end: nil while more may follow.
  private func partial(_ name: String, _ arguments: Range<Int>?, _ end: Int?) -> Result {
    var text = ""
    if let arguments {
      if bytes[arguments.lowerBound] == UInt8(ascii: "{") {
        text = String(decoding: bytes[arguments], as: UTF8.self)
      } else if end != nil {
        // Some models write the object as a string.
        text = string(arguments) ?? String(decoding: bytes[arguments], as: UTF8.self)
        if text == "null" { text = "{}" }
      }
    } else if end != nil {
      text = "{}"
    }
    return .call(ToolCall(name: name, arguments: text), end: end)
  }

  /// Where the JSON value at `start` ends, by its quotes and brackets; nil: not in this text.
  private func valueEnd(_ start: Int) -> Int? {
    var (depth, isString) = (0, false)
    var index = start
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      if isString {
        if byte == UInt8(ascii: "\\") { index += 1 } else if byte == UInt8(ascii: "\"") { isString = false } else { continue }
        if !isString && depth == 0 { return index }
        continue
      }
      switch byte {
      case UInt8(ascii: "\""): isString = true
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        if depth == 0 { return index - 1 }
        depth -= 1
        if depth == 0 { return index }
      case UInt8(ascii: ",") where depth == 0: return index - 1
      case _ where depth == 0 && isJSONSpace(byte): return index - 1
      default: break
      }
    }
    return nil
  }

  private func string(_ range: Range<Int>) -> String? {
    (try? JSONValue(parsing: String(decoding: bytes[range], as: UTF8.self)))?.string
  }

  private func skipSpace(_ start: Int) -> Int { bytes[start...].firstIndex { !isJSONSpace($0) } ?? bytes.count }
}
