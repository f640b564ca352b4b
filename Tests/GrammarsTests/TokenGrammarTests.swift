import Foundation
import Grammars
import JSON
import TestSupport
import Testing

/// Masks over a vocabulary against trying every token.
@Suite struct TokenGrammarTests {
  /// All bytes, some of them twice, and random strings of the alphabet that grammars like.
  static func vocabulary(_ random: inout SeededGenerator) -> [[UInt8]?] {
    var tokens: [[UInt8]?] = (0..<256).map { [UInt8($0)] }
    tokens += [nil, [], [0x61], Array("{\"".utf8), Array("\":".utf8), Array("true".utf8), Array("},{".utf8)]
    for _ in 0..<300 {
      let length = Int.random(in: 1...5, using: &random)
      tokens.append((0..<length).map { _ in Array("ab01{}[]\",: \\é\n".utf8).randomElement(using: &random)! })
    }
    return tokens
  }

  static let sources: [GrammarSource] = [
    .regex("(a|ab|b0)*c?"), .regex("[^\"]{2,7}"), .jsonSchema("{}"),
    .jsonSchema(
      #"{"properties":{"ab":{"type":"integer","minimum":1,"maximum":110},"b":{"items":{"type":"boolean"}}},"required":["b"]}"#),
    .ebnf("root ::= \"a\" root \"b\" | [0-1] \"é\"?"),
  ]

  @Test(arguments: sources) func masksHoldWhatCanBeRead(_ source: GrammarSource) throws {
    var random = SeededGenerator(state: 7)
    let tokens = Self.vocabulary(&random)
    let first = tokens.map { $0.map { $0.first == 0x20 ? Array($0.dropFirst()) : $0 } }
    let grammar = try TokenGrammar(Grammar(source), TokenTexts(middle: tokens, first: first))
    let naive = try Recogniser(source)
    for _ in 0..<40 {
      var (state, written, isFirst) = (grammar.start, [UInt8](), true)
      for _ in 0..<25 {
        let mask = grammar.mask(state, isFirst: isFirst)
        let texts = isFirst ? first : tokens
        let place = try #require(naive.advance(naive.start, written))
        #expect(grammar.isAccepting(state) == naive.isAccepting(place))
        var allowed: [Int] = []
        for (id, text) in texts.enumerated() {
          let isAllowed = text.map { !$0.isEmpty && naive.advance(place, $0) != nil } ?? false
          #expect(mask.contains(id) == isAllowed, "token \(id) after \(String(decoding: written, as: UTF8.self))")
          if isAllowed { allowed.append(id) }
        }
        #expect(mask.count == allowed.count)
        guard let token = allowed.randomElement(using: &random) else { break }
        state = try #require(grammar.advance(state, token, isFirst: isFirst))
        written += texts[token]!
        isFirst = false
      }
    }
    for token in 256...257 { #expect(grammar.advance(grammar.start, token, isFirst: token == 256) == nil) }
  }

  /// Random walks to the end: what comes out is JSON, and the schema's own keywords hold of it.
  @Test func walksEndInValidValues() throws {
    var random = SeededGenerator(state: 11)
    let tokens = Self.vocabulary(&random)
    let texts = TokenTexts(middle: tokens, first: tokens)
    for entry in try SchemaTests.entries() {
      let grammar = try TokenGrammar(Grammar(.jsonSchema(entry.schema.text())), texts)
      for _ in 0..<6 {
        var (state, written) = (grammar.start, [UInt8]())
        while true {
          let mask = grammar.mask(state, isFirst: false)
          let allowed = tokens.indices.filter(mask.contains)
          // Ends soon once it may, and after a while closes what is open.
          if grammar.isAccepting(state), allowed.isEmpty || Int.random(in: 0..<4, using: &random) == 0 { break }
          let closing = allowed.filter { [[0x7D], [0x5D], [0x22], [0x30]].contains(tokens[$0]!) }
          let closes = written.count > 60 && !closing.isEmpty && Int.random(in: 0..<8, using: &random) > 0
          let shown = String(decoding: written, as: UTF8.self)
          let token = try #require((closes ? closing : allowed).randomElement(using: &random), "stuck after \(shown)")
          state = try #require(grammar.advance(state, token, isFirst: false))
          written += tokens[token]!
          guard written.count < 20000 else { break }
        }
        guard written.count < 20000 else { continue }
        let text = try #require(String(validating: written, as: UTF8.self))
        let value = try JSONValue(parsing: text)
        #expect(SchemaJudge(document: entry.schema).holds(entry.schema, value), "\(entry.schema.text()) of \(text)")
      }
    }
  }
}
