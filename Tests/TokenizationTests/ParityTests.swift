import JSON
import Testing
import Tokenization

/// What Python's `tokenizers` makes of the corpus, with tokenizers of the structure that published models have.
@Suite struct ParityTests {
  @Test(arguments: TokenizerFixture.names)
  func encodesLikePython(_ name: String) throws {
    let tokenizer = try TokenizerFixture.tokenizer(name)
    let expected = try TokenizerFixture.json("tokenizers/\(name)/expected.json")
    let corpus = TokenizerFixture.corpus
    #expect(corpus.count > 300)
    for (text, ids) in zip(corpus, expected["ids"]!.array!) {
      #expect(tokenizer.encode(text) == ids.array!.compactMap(\.int), "\(text.debugDescription)")
    }
    for (text, digest) in zip(corpus, expected["digests"]!.array!) {
      #expect(TokenizerFixture.digest(tokenizer.encode(text)).prefix(8) == digest.string!, "\(text.debugDescription)")
    }
    let bare = corpus.flatMap { tokenizer.encode($0, addSpecialTokens: false) }
    #expect(TokenizerFixture.digest(bare) == expected["bare"]?.string)
    let scalars = tokenizer.encode(TokenizerFixture.scalars, addSpecialTokens: false)
    #expect(TokenizerFixture.digest(scalars) == expected["scalars"]?.string)
  }

  @Test(arguments: TokenizerFixture.names)
  func decodesLikePython(_ name: String) throws {
    let tokenizer = try TokenizerFixture.tokenizer(name)
    let expected = try TokenizerFixture.json("tokenizers/\(name)/expected.json")
    for (text, digest) in zip(TokenizerFixture.corpus, expected["decoded"]!.array!) {
      let decoded = tokenizer.decode(tokenizer.encode(text), skipSpecialTokens: true)
      #expect(TokenizerFixture.digest(decoded.utf8.map { Int($0) }).prefix(8) == digest.string!, "\(text.debugDescription)")
    }
    for noise in expected["noise"]!.array! {
      let decoded = tokenizer.decode(noise["ids"]!.array!.compactMap(\.int))
      #expect(Array(decoded.utf8) == Array(noise["text"]!.string!.utf8))
    }
  }

  /// Single normalizers, pre-tokenizers and added tokens, on the corpus and on scalars of every plane.
  @Test func componentsActLikePython() throws {
    let variants = try TokenizerFixture.json("variants.json").array!
    #expect(variants.count > 90)
    let texts = TokenizerFixture.corpus.indices.filter { $0 % 4 == 0 }.map { TokenizerFixture.corpus[$0] }
    for variant in variants {
      let tokenizer = try TokenizerFixture.tokenizer(changing: variant["change"]!)
      #expect(
        TokenizerFixture.digest(tokenizer.encode(TokenizerFixture.scalars)) == variant["scalars"]?.string,
        "\(variant["change"]!.text())")
      for (text, digest) in zip(texts, variant["corpus"]!.array!) {
        #expect(
          TokenizerFixture.digest(tokenizer.encode(text)).prefix(8) == digest.string!,
          "\(variant["change"]!.text()) \(text.debugDescription)")
      }
    }
  }
}
