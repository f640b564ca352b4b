/// One token of a template: text between tags, or a piece of the code inside a tag.
struct JinjaToken: Equatable {
  enum Kind: Equatable {
    case text(String)
    case blockBegin, blockEnd, variableBegin, variableEnd
    case name(String)
    case string(String)
    case integer(Int)
    case float(Double)
    case symbol(String)
    case end
  }

  var kind: Kind
  var line: Int

  /// What the token is, for error messages.
  var words: String {
    switch kind {
    case .text: "text outside a tag"
    case .blockBegin: "'{%'"
    case .blockEnd: "'%}'"
    case .variableBegin: "'{{'"
    case .variableEnd: "'}}'"
    case .name(let name): "'\(name)'"
    case .string(let text): "the string '\(text)'"
    case .integer(let value): "the number \(value)"
    case .float(let value): "the number \(value)"
    case .symbol(let symbol): "'\(symbol)'"
    case .end: "the end of the template"
    }
  }
}
