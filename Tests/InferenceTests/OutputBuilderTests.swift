import Inference
import TestSupport
import Testing

/// Token `n` is the n-th piece; a piece's bytes may be part of a character.
private struct Pieces: IncrementalDecoder {
  let pieces: [[UInt8]]
  var pending: [UInt8] = []

  init(_ pieces: [String]) { self.pieces = pieces.map { Array($0.utf8) } }
  init(bytes: [[UInt8]]) { pieces = bytes }

  mutating func append(_ token: Int) -> String {
    pending += pieces[token]
    guard let text = String(validating: pending, as: UTF8.self) else { return "" }
    pending = []
    return text
  }

  mutating func finish() -> String { String(decoding: pending, as: UTF8.self) }
}

@Suite struct OutputBuilderTests {
  private func builder(
    _ decoder: Pieces, stop: [String] = [], noTrim: Bool = false, stopTokens: [Int] = [], max: Int = 100
  ) -> OutputBuilder<Pieces> {
    var sampling = SamplingParameters()
    (sampling.stop, sampling.noStopTrim, sampling.stopTokenIDs, sampling.maxNewTokens) = (stop, noTrim, stopTokens, max)
    let condition = StopCondition(sampling, promptTokens: 1, contextLength: 1000, endOfSequence: [])
    return OutputBuilder(sampling, stop: condition, decoder: decoder)
  }

  @Test func stopStringsAcrossTokensAreCutAndNeverShown() {
    var output = builder(Pieces(["ab<", "e", "n", "d>tail"]), stop: ["zzz", "<end>"])
    var shown: [String] = []
    var match: String?
    for token in 0..<4 {
      match = output.append(token)
      shown.append(output.text)
    }
    #expect(match == "<end>" && shown == ["ab", "ab", "ab", "ab"])
    output.finish(.stopString("<end>"))
    #expect(output.text == "ab")
  }

  @Test func noStopTrimKeepsAll() {
    var output = builder(Pieces(["ab<", "end>tail"]), stop: ["<end>"], noTrim: true)
    #expect(output.append(0) == nil && output.text == "ab<")
    #expect(output.append(1) == "<end>")
    output.finish(.stopString("<end>"))
    #expect(output.text == "ab<end>tail")
  }

  @Test func heldBackTextComesWhenItWasNoStop() {
    var output = builder(Pieces(["a<e", "x", "<en"]), stop: ["<end>"])
    #expect(output.append(0) == nil && output.text == "a")
    #expect(output.append(1) == nil && output.text == "a<ex")
    #expect(output.append(2) == nil && output.text == "a<ex")
    output.finish(.length(3))
    #expect(output.text == "a<ex<en")
  }

  @Test func stopTokensAreNotPartOfTheText() {
    for noTrim in [false, true] {
      var output = builder(Pieces(["a", "STOP"]), noTrim: noTrim, stopTokens: [1])
      #expect(output.append(0) == nil && output.append(1) == nil)
      output.finish(.stopToken(1))
      #expect(output.text == (noTrim ? "aSTOP" : "a"))
    }
  }

  @Test func theLengthComesFirst() {
    var output = builder(Pieces(["a", "stop"]), stop: ["stop"], max: 2)
    #expect(output.append(0) == nil && output.append(1) == nil)
    output.finish(.length(2))
    #expect(output.text == "astop")
  }

  @Test func partsOfCharactersWait() {
    var output = builder(Pieces(bytes: [[0x61, 0xC3], [0xA9], [0xF0, 0x9F]]))
    #expect(output.append(0) == nil && output.text == "")
    #expect(output.append(1) == nil && output.text == "aé")
    #expect(output.append(2) == nil && output.text == "aé")
    output.finish(.length(3))
    #expect(output.text == "aé\u{FFFD}")
  }

  /// The response ends with the first token that completes a stop string, and is cut where the first one in it begins.
  @Test func anyCutEndsWhereSearchingTheWholeTextSays() {
    var random = SeededGenerator(state: 3)
    for _ in 0..<500 {
      func word(_ length: Int) -> String { String((0..<length).map { _ in "abé".randomElement(using: &random)! }) }
      let text = word(20)
      let stops = [word(Int.random(in: 1...4, using: &random)), word(Int.random(in: 1...4, using: &random))]
      var pieces: [String] = []
      var rest = Substring(text)
      while !rest.isEmpty {
        pieces.append(String(rest.prefix(Int.random(in: 1...3, using: &random))))
        rest = rest.dropFirst(pieces.last!.count)
      }
      var output = builder(Pieces(pieces), stop: stops)
      var match: String?
      for token in pieces.indices where match == nil {
        match = output.append(token)
        #expect(text.hasPrefix(output.text))
      }
      output.finish(match.map(FinishReason.stopString) ?? .length(1))
      var expected = text
      for count in 1...pieces.count {
        let sampled = pieces.prefix(count).joined()
        guard let start = sampled.indices.first(where: { i in stops.contains { sampled[i...].hasPrefix($0) } }) else { continue }
        expected = String(sampled[..<start])
        break
      }
      #expect(output.text == expected)
    }
  }
}
