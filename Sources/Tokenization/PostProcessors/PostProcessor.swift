/// The special tokens that are put around a text's own.
struct PostProcessor: Sendable {
  enum Part: Sendable, Equatable {
    case text
    case tokens([Int])
  }

  /// Applied one after the other, each to the result of the one before.
  private(set) var templates: [[Part]] = []

  init(prefix: Int?, suffix: Int?) {
    templates = [[.tokens(prefix.map { [$0] } ?? []), .text, .tokens(suffix.map { [$0] } ?? [])]]
  }

  init(_ component: Component) throws(TokenizerError) {
    switch component.type {
    case "Sequence":
      for step in try component.array("processors") { templates += try PostProcessor(step).templates }
    case "TemplateProcessing":
      templates = [try Self.template(component)]
    case "BertProcessing", "RobertaProcessing":
      func id(_ key: String) throws(TokenizerError) -> [Int] {
        guard let pair = component.value[key]?.array, pair.count == 2, let id = pair[1].int else {
          throw component.error("needs '\(key)' as a token and its id")
        }
        return [id]
      }
      templates = [[.tokens(try id("cls")), .text, .tokens(try id("sep"))]]
    case "ByteLevel":
      // It only trims offsets.
      break
    default:
      throw component.unsupported("post-processor")
    }
  }

  private static func template(_ component: Component) throws(TokenizerError) -> [Part] {
    var parts: [Part] = []
    for part in try component.array("single") {
      if let token = part.optional("SpecialToken") {
        let name = try token.string("id")
        guard let ids = component.value["special_tokens"]?[name]?["ids"]?.array?.compactMap(\.int) else {
          throw part.error("names the special token '\(name)', whose ids are not given")
        }
        parts.append(.tokens(ids))
      } else if let sequence = part.optional("Sequence") {
        guard try sequence.string("id") == "A" else { throw sequence.error("must be the sequence 'A'") }
        parts.append(.text)
      } else {
        throw part.error("is neither a 'SpecialToken' nor a 'Sequence'")
      }
    }
    return parts
  }

  func apply(to ids: [Int]) -> [Int] {
    templates.reduce(ids) { ids, parts in
      parts.flatMap { part in
        switch part {
        case .text: ids
        case .tokens(let tokens): tokens
        }
      }
    }
  }
}
