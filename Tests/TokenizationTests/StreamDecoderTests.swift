import Testing
import Tokenization

@Suite struct StreamDecoderTests {
  @Test(arguments: TokenizerFixture.names)
  func partsMakeTheWhole(_ name: String) throws {
    let tokenizer = try TokenizerFixture.tokenizer(name)
    for noise in try TokenizerFixture.json("tokenizers/\(name)/expected.json")["noise"]!.array! {
      let ids = noise["ids"]!.array!.compactMap(\.int)
      for skips in [false, true] {
        var decoder = StreamDecoder(tokenizer, skipSpecialTokens: skips)
        let parts = ids.map { decoder.append($0) } + [decoder.finish()]
        #expect(Array(parts.joined().utf8) == Array(tokenizer.decode(ids, skipSpecialTokens: skips).utf8))
      }
    }
  }

  /// A character comes when its last byte does, and other text at once.
  @Test(arguments: ["byte", "llama2"])
  func charactersComeWhole(_ name: String) throws {
    let tokenizer = try TokenizerFixture.tokenizer(name)
    let text = "the 𐍈 of 👩‍👩‍👧‍👦 the"
    var decoder = StreamDecoder(tokenizer, skipSpecialTokens: true)
    let parts = tokenizer.encode(text).map { decoder.append($0) } + [decoder.finish()]
    #expect(parts.joined() == text)
    #expect(parts.allSatisfy { !$0.unicodeScalars.contains("\u{FFFD}") })
    #expect(parts.filter { !$0.isEmpty }.count >= 6)
  }

  @Test func brokenCharactersAreReplacedAtTheEnd() throws {
    let tokenizer = try TokenizerFixture.tokenizer("byte")
    var decoder = StreamDecoder(tokenizer)
    let ids = tokenizer.encode("a😀").dropLast()
    #expect(ids.map { decoder.append($0) }.joined() == "a")
    #expect(decoder.finish() == "\u{FFFD}")
    #expect(decoder.finish() == "")
  }
}
