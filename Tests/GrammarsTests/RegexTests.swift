import Foundation
import Grammars
import JSON
import TestSupport
import Testing

/// Regular expressions against Python's `re`.
@Suite struct RegexTests {
  @Test func matchesAsPythonDoes() throws {
    let entries = try JSONValue(parsing: Data(contentsOf: fixture("grammars/regexes.json"))).array!
    var positives = 0
    for entry in entries {
      let pattern = entry.array![0].string!
      let automaton = try Recogniser(.regex(pattern))
      for pair in entry.array![1].array! {
        let (text, wanted) = (pair.array![0].string!, pair.array![1].bool!)
        #expect(automaton.matches(text.utf8) == wanted, "\(pattern.debugDescription) on \(text.debugDescription)")
        positives += wanted ? 1 : 0
      }
    }
    #expect(entries.count > 60 && positives > 500)
  }

  /// Every character on its own, against the class's definition.
  @Test(arguments: [
    ("[a-z]", [0x61...0x7A]), (".", [0...0x09, 0x0B...0x10_FFFF]),
    ("[^\\u0080-\\u{10FFFE}]", [0...0x7F, 0x10_FFFF...0x10_FFFF]),
    ("[\\u07FF\\u0800\\uFFFF\\u{10000}]", [0x7FF...0x800, 0xFFFF...0x1_0000]), ("\\ud83d\\ude00", [0x1F600...0x1F600]),
    ("[\\u0100-\\u{1F600}]", [0x100...0x1F600]),
  ] as [(String, [ClosedRange<UInt32>])])
  func classesAreExact(_ pattern: String, _ ranges: [ClosedRange<UInt32>]) throws {
    let automaton = try Recogniser(.regex(pattern))
    for code in UInt32(0)...0x10_FFFF where code < 0x900 || code % 13 == 0 || code > 0xFFF0 && code < 0x1_0010 {
      guard let scalar = Unicode.Scalar(code) else { continue }
      #expect(automaton.matches(String(scalar).utf8) == ranges.contains { $0.contains(code) }, "\(pattern) on \(code)")
    }
    for bytes in [[0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80]] as [[UInt8]] {
      #expect(!automaton.matches(bytes))
    }
  }

  /// Counts are kept as numbers: large ones cost nothing before they are reached.
  @Test func largeCounts() throws {
    let automaton = try Recogniser(.regex("(?:ab?){3,90000}c{90000}"))
    func text(_ start: String, _ count: Int) -> [UInt8] { Array((start + String(repeating: "c", count: count)).utf8) }
    #expect(automaton.matches(text("abaab", 90000)))
    #expect(!automaton.matches(text("ab", 90000)))
    #expect(!automaton.matches(text("aaa", 89999)))
  }

  @Test(arguments: [
    ("(?=a)b", "lookahead"), ("a(?!b)", "lookahead"), ("(?<=a)b", "lookbehind"), ("(a)\\1", "backreference"),
    ("(?P<x>a)(?P=x)", "backreference"), ("\\bword", "word boundary"), ("a++", "possessive"), ("(", "'(' without ')'"),
    (")", "')' without '('"), ("[a", "without ']'"), ("*a", "without anything to repeat"),
    ("a**", "quantifier after a quantifier"),
    ("a^b", "'^'"), ("a$b", "'$'"), ("(^a)*", "anchor"), ("\\p{L}", "Unicode property"), ("(?i)a", "(?i"), ("a{3,2}", "range"),
    ("[b-a]", "ends do not fit"), ("a{1000000}", "100000"), ("\\", "backslash"), ("[^\\s\\S]", "matches no text"),
    ("\\q", "not supported"),
    ("((a?){1,99999}){1,99999}", "ambiguous"),
  ])
  func refuses(_ pattern: String, _ words: String) throws {
    let error = #expect(throws: GrammarError.self, "\(pattern)") { try Recogniser(.regex(pattern)) }
    #expect(error?.description.contains(words) ?? false, "\(pattern): \(error?.description ?? "")")
  }
}
