import TestSupport
import Testing
import Tokenization

@Suite struct TokenBytesTests {
  /// The bytes of random tokens, put together, are what they decode to.
  @Test(arguments: TokenizerFixture.names)
  func areThoseOfDecoding(_ name: String) throws {
    let tokenizer = try TokenizerFixture.tokenizer(name)
    var random = SeededGenerator(state: 17)
    let ids = (0..<tokenizer.vocabularySize).filter { tokenizer.token($0) != nil && !tokenizer.isSpecial($0) }
    let samples = ids.map { [$0] } + (0..<3000).map { _ in
      (0..<Int.random(in: 1...6, using: &random)).map { _ in ids.randomElement(using: &random)! }
    } + TokenizerFixture.corpus.map { tokenizer.encode($0).filter { !tokenizer.isSpecial($0) } }
    var compared = 0
    for sample in samples {
      let bytes = try sample.enumerated().flatMap { try #require(tokenizer.bytes(of: $1, isFirst: $0 == 0)) }
      guard let text = String(validating: bytes, as: UTF8.self) else { continue }
      #expect(Array(text.utf8) == Array(tokenizer.decode(sample).utf8), "\(sample)")
      compared += 1
    }
    #expect(compared > 1000)
  }

  @Test func specialTokensHaveNone() throws {
    let tokenizer = try TokenizerFixture.tokenizer("llama2")
    #expect(tokenizer.bytes(of: tokenizer.id("</s>")!) == nil && tokenizer.bytes(of: 1 << 20) == nil)
    #expect(tokenizer.bytes(of: tokenizer.id("<0xE2>")!) == [0xE2])
    #expect(tokenizer.bytes(of: tokenizer.id("▁the")!) == Array(" the".utf8))
    #expect(tokenizer.bytes(of: tokenizer.id("▁the")!, isFirst: true) == Array("the".utf8))
  }
}
