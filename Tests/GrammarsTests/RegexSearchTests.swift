import Grammars
import TestSupport
import Testing

@Suite struct RegexSearchTests {
  /// Against Swift's own regular expressions: the first prefix in which a part matches.
  @Test func findsTheFirstMatchOfGrowingTexts() throws {
    var random = SeededGenerator(state: 11)
    let atoms = ["a", "b", "é", ".", "[ab]", "[^a]", "(a|éb)", "(ab)", "\\d"]
    for _ in 0..<150 {
      let pattern = (0..<Int.random(in: 1...4, using: &random)).map { _ in
        atoms.randomElement(using: &random)! + ["", "", "+", "?", "{2}", "*"].randomElement(using: &random)!
      }.joined()
      let oracle = try Regex(pattern)
      var search = try RegexSearch(pattern)
      var (text, found) = ("", search.append([]))
      for _ in 0..<12 {
        #expect(found == (text.firstMatch(of: oracle) != nil), "\(pattern) in \(text)")
        let next = ["a", "b", "é", "1", "\n"].randomElement(using: &random)!
        text += next
        found = search.append(next.utf8)
      }
    }
  }

  @Test func anchorsHoldAtTheEndsOfTheText() throws {
    var (start, end) = (try RegexSearch("^ab"), try RegexSearch("b$"))
    let starts = ["a", "b", "c"].map { start.append($0.utf8) }
    let ends = ["ab", "c", "b"].map { end.append($0.utf8) }
    #expect(starts == [false, true, true] && ends == [true, false, true])
  }
}
