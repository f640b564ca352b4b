import Foundation
import JSON
import Testing
import Tokenization

@Suite struct ChatTemplateTests {
  private func failure(of source: String) -> ChatTemplateError? {
    do {
      _ = try ChatTemplate(source: source).render(messages: [["role": "user", "content": "Hi"]])
      return nil
    } catch { return error as? ChatTemplateError }
  }

  @Test(arguments: [
    ("a\n{{ x.y.z }}", 2, "undefined"),
    ("\n\n{% if %}", 3, "expression"),
    ("{{ 1 }}\n{{ raise_exception('No system role!') }}", 2, "No system role!"),
    ("{% for m in messages %}\n{{ m.content + 1 }}\n{% endfor %}", 2, "'+'"),
    ("{{ 'a' }}\n{{ 'b }}", 2, "string"),
    ("{% macro f(a) %}\n{{ a.b.c }}\n{% endmacro %}\n{{ f(1) }}", 2, "attribute"),
    ("{% include 'x' %}", 1, "include"),
  ])
  func errorsNameTheLine(source: String, line: Int, part: String) throws {
    let error = try #require(failure(of: source))
    #expect(error.line == line)
    #expect(error.description.contains(part), "\(error)")
  }

  /// Each of these would run for ever, fill the memory or overflow the stack.
  @Test(arguments: [
    "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}",
    "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% set ns = namespace(s='ab') %}{% for a in range(99999) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{% set ns = namespace(s=[]) %}{% for a in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}",
    "{% set ns = namespace(s=[1]) %}{% for a in range(99999) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "{{ 'a' * 999999999999 }}", "{{ [1] * 999999999 }}", "{{ 'a'.center(999999999999) }}", "{{ '%999999999d' % 1 }}",
    "{{ '{:999999999}'.format(1) }}", "{{ 9 ** 9 ** 9 }}", "{{ range(99999999) }}", "{{ 9223372036854775807 + 1 }}",
    "{{ '\(String(repeating: "x", count: 5000))'.replace('x', 'y' * 99999) }}",
    "{{ \(String(repeating: "(", count: 100_000)) }}", "{{ \(String(repeating: "[", count: 100_000)) }}",
    "{{ \(String(repeating: "-", count: 100_000))1 }}", "{{ \(String(repeating: "not ", count: 100_000))1 }}",
    "{{ 1\(String(repeating: " + 1", count: 100_000)) }}", "{{ x\(String(repeating: ".x", count: 100_000)) }}",
    "{{ x\(String(repeating: "|d", count: 100_000)) }}", "{{ 1\(String(repeating: " if 1 else 1", count: 100_000)) }}",
    String(repeating: "{% if 1 %}", count: 100_000),
  ])
  func boundlessTemplatesAreErrors(source: String) {
    #expect(failure(of: source) != nil)
  }

  @Test func aNamespaceMayHoldItself() throws {
    let template = try ChatTemplate(source: "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns.a.a.a is defined }}")
    #expect(try template.render(messages: [["role": "user"]]) == "True")
  }

  @Test func deepSchemasAreRendered() throws {
    let source = "{% macro f(x) %}[{{ f(x['c']) if x['c'] else '.' }}]{% endmacro %}{{ f(messages[0]) }}"
    var schema: JSONValue = ["leaf": true]
    for _ in 0..<40 { schema = ["c": schema] }
    let text = try ChatTemplate(source: source).render(messages: [schema])
    #expect(text == String(repeating: "[", count: 41) + "." + String(repeating: "]", count: 41))
  }

  @Test func malformedConversationsAreErrors() throws {
    let template = try ChatTemplate(source: "{{ messages[0].content }}")
    #expect(throws: ChatTemplateError.self) { try template.render(messages: []) }
    #expect(throws: ChatTemplateError.self) { try template.render(messages: ["text"]) }
    #expect(throws: ChatTemplateError.self) {
      try template.renderContinuingFinalMessage(messages: [["role": "user", "content": "a"]], field: "thinking")
    }
  }

  @Test func generationRangesCountBytes() throws {
    let template = try ChatTemplate(
      source: "{% for m in messages %}{{ m.role }}:{% generation %}{{ m.content }}{% endgeneration %};{% endfor %}")
    let rendered = try template.renderWithGenerationMask(
      messages: [["role": "é", "content": "東京"], ["role": "b", "content": ""], ["role": "c", "content": "xyz"]])
    #expect(rendered.text == "é:東京;b:;c:xyz;")
    #expect(rendered.generated == [3..<9, 12..<12, 15..<18])
  }
}
