import Grammars
import TestSupport
import Testing

@Suite struct EBNFTests {
  /// Balanced brackets, against counting.
  @Test func recursion() throws {
    let automaton = try Recogniser(.ebnf(#"""
      # Dyck words
      root ::= pair* 
      pair ::= "(" root ")" | "[" root "]"
      """#))
    var random = SeededGenerator(state: 5)
    var accepted = 0
    for _ in 0..<4000 {
      let text = (0..<2 * Int.random(in: 0...4, using: &random)).map { _ in "()[]".randomElement(using: &random)! }
      var stack: [Character] = []
      var isBalanced = true
      for character in text {
        if character == "(" || character == "[" { stack.append(character) } else {
          isBalanced = isBalanced && stack.popLast() == (character == ")" ? "(" : "[")
        }
      }
      isBalanced = isBalanced && stack.isEmpty
      accepted += isBalanced ? 1 : 0
      #expect(automaton.matches(String(text).utf8) == isBalanced, "\(String(text))")
    }
    #expect(accepted > 300)
    #expect(automaton.matches((String(repeating: "([", count: 3000) + String(repeating: "])", count: 3000)).utf8))
  }

  @Test(arguments: [
    (#"root ::= "a" | "b"+ "c"{2} ."#, ["a", "bccé", "bbbcc\n"], ["b", "bcc", "", "ab"]),
    (#"root ::= [a-c^\]]{1,2} ([^a-z\n] | "\x41\u00e9\"")? "#, ["a", "]^", "abA", "cAé\""], ["", "abc", "a\n", "d"]),
    (
      "root ::= expr\nexpr ::= term ((\"+\" | \"-\") term)*\nterm ::= [0-9]+ | \"(\" expr \")\"",
      ["1+2", "(1-(2+33))"], ["1+", "()"]
    ),
    ("root ::= a-b.c_1 \"\" # end\na-b.c_1 ::= \"x\"{2,}", ["xx", "xxxx"], ["x", ""]),
  ])
  func syntax(_ grammar: String, _ matching: [String], _ other: [String]) throws {
    let automaton = try Recogniser(.ebnf(grammar))
    for text in matching { #expect(automaton.matches(text.utf8), "\(grammar) on \(text)") }
    for text in other { #expect(!automaton.matches(text.utf8), "\(grammar) on \(text)") }
  }

  @Test(arguments: [
    ("a ::= \"b\"", "no rule root"), ("root ::= b", "rule b is not defined"), ("root ::= root \"a\" | \"a\"", "left recursion"),
    ("root ::= x\nx ::= \"a\"? y\ny ::= x \"b\" | \"c\"", "left recursion"), ("root ::= \"a", "closing quote"),
    ("root ::= (\"a\"", "'(' without"), ("root ::= \"a\"\nroot ::= \"b\"", "twice"), ("root = \"a\"", "'::='"),
    ("", "no rule root"),
    ("root ::= \"a\" root", "matches no text"), ("root ::= (=\"a\") \"b\"", "lookahead"), ("root ::= [a", "without ']'"),
    ("root ::= \"a\"{x}", "repetition"), ("root ::= TagDispatch((\"a\", b))", "TagDispatch"), ("root ::= \"a\")", "rule name"),
  ])
  func refuses(_ grammar: String, _ words: String) {
    let error = #expect(throws: GrammarError.self, "\(grammar)") { try Recogniser(.ebnf(grammar)) }
    #expect(error?.description.contains(words) ?? false, "\(grammar): \(error?.description ?? "")")
  }
}
