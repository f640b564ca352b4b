import Foundation
import JSON
import TestSupport
import Testing
import Tokenization

/// Equality with `transformers` (Scripts/make_chat_template_fixtures.py).
@Suite struct ChatTemplateFixtureTests {
  private static func load(_ name: String) throws -> JSONValue {
    try JSONValue(parsing: Data(contentsOf: fixture("ChatTemplates/" + name)))
  }

  /// A time without a zone, as Python's `datetime.now()` gives it.
  private static func time(_ text: String) throws -> Date {
    let parts = text.split { !$0.isNumber }.map { Int($0)! }
    var fields = DateComponents()
    (fields.year, fields.month, fields.day) = (parts[0], parts[1], parts[2])
    (fields.hour, fields.minute, fields.second) = (parts[3], parts[4], parts[5])
    return try #require(Calendar(identifier: .gregorian).date(from: fields))
  }

  @Test func publishedTemplatesRenderAsInTransformers() throws {
    let data = try Self.load("conversations.json")
    let now = try Self.time(data["now"]!.string!)
    let texts = data["texts"]!.array!.map { $0.string! }
    var templates: [String: ChatTemplate] = [:]
    var failures = 0
    for test in try #require(data["cases"]?.array) {
      let name = test["template"]!.string!
      if templates[name] == nil {
        let url = fixture("ChatTemplates/\(name).jinja")
        templates[name] = try ChatTemplate(source: String(decoding: Data(contentsOf: url), as: UTF8.self))
      }
      let template = templates[name]!
      let conversation = test["messages"]!.string!
      let messages = data["conversations"]![conversation]!.array!
      let option = data["options"]!.array![test["option"]!.int!]
      var variables: [String: JSONValue] = ["bos_token": "<s>", "eos_token": "</s>"]
      for (key, value) in option.object!.pairs where !["tools", "documents", "add_generation_prompt"].contains(key) {
        variables[key] = value
      }
      let (tools, documents) = (option["tools"]?.array, option["documents"]?.array)
      let expected = test["text"]?.int.map { texts[$0] }
      let rendered: ChatTemplate.Rendered? =
        if let field = test["continue"]?.string {
          (try? template.renderContinuingFinalMessage(
            messages: messages, field: field, tools: tools, documents: documents, variables: variables, now: now))
            .map { ChatTemplate.Rendered(text: $0, generated: []) }
        } else {
          try? template.renderWithGenerationMask(
            messages: messages, tools: tools, documents: documents,
            addGenerationPrompt: option["add_generation_prompt"]!.bool!, variables: variables, now: now)
        }
      let label = "\(name), \(conversation), \(test["option"]!.int!), \(test["continue"]?.string ?? "")"
      if rendered.map({ Array($0.text.utf8) }) != expected.map({ Array($0.utf8) }) {
        failures += 1
        let found = rendered?.text ?? "an error"
        if failures < 10 { Issue.record("\(label)\n--- is\n\(found)\n--- should be\n\(expected ?? "an error")") }
      }
      if let ranges = test["generated"]?.array, let rendered {
        let found = rendered.generated.map { [$0.lowerBound, $0.upperBound] }
        #expect(found == ranges.map { $0.array!.map { $0.int! } }, "\(label)")
      }
    }
    #expect(failures == 0)
  }

  @Test func expressionsRenderAsInJinja() throws {
    let data = try Self.load("expressions.json")
    let now = try Self.time(data["now"]!.string!)
    let context = Dictionary(uniqueKeysWithValues: data["context"]!.object!.pairs.map { ($0.key, $0.value) })
    var failures = 0
    let cases = try #require(data["cases"]?.array)
    for test in cases {
      let (source, expected) = (test.array![0].string!, test.array![1].string)
      var text: String?
      var message = ""
      do { text = try ChatTemplate(source: source).render(variables: context, now: now) } catch { message = "\(error)" }
      guard text.map({ Array($0.utf8) }) != expected.map({ Array($0.utf8) }) else { continue }
      failures += 1
      if failures < 60 { Issue.record("\(source)\n is        \(text ?? message)\n should be \(expected ?? "an error")") }
    }
    #expect(failures == 0, "of \(cases.count)")
    #expect(cases.count > 3000)
  }
}
