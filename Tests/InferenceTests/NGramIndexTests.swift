import Inference
import TestSupport
import Testing

/// The index against looking through all of the text.
@Suite struct NGramIndexTests {
  private struct Naive {
    var sequences: [[Int]] = [[]]
    let shortest: Int
    let longest: Int
    let candidates: Int

    func continuation(of sequence: [Int], isOwn: Bool, count: Int) -> (matched: Int, tokens: [Int])? {
      // The places, latest first, that follow the last `shortest` tokens.
      var places: [(text: Int, place: Int, matched: Int)] = []
      for text in sequences.indices.reversed() {
        for place in stride(from: sequences[text].count, through: shortest, by: -1) {
          let before = sequences[text][..<place]
          var matched = 0
          for (one, other) in zip(before.reversed(), sequence.reversed().prefix(longest)) {
            if one != other { break }
            matched += 1
          }
          if text == sequences.count - 1, place == sequences[text].count { continue }
          if matched >= shortest { places.append((text, place, matched)) }
        }
      }
      places = places.prefix(candidates).filter { $0.place < sequences[$0.text].count }
      guard let most = places.map(\.matched).max() else { return nil }
      let best = places.first { $0.matched == most }!
      var text = sequences[best.text]
      var tokens: [Int] = []
      var place = best.place
      while tokens.count < count, place < text.count {
        tokens.append(text[place])
        if isOwn, best.text == sequences.count - 1 { text.append(text[place]) }
        place += 1
      }
      return (most, tokens)
    }
  }

  @Test func findsWhatLookingThroughAllFinds() {
    var found = 0
    for seed in 0..<200 as Range<UInt64> {
      var random = SeededGenerator(state: seed)
      let shortest = Int.random(in: 1...3, using: &random)
      let longest = shortest + Int.random(in: 0...4, using: &random)
      let candidates = [1, 3, 1000].randomElement(using: &random)!
      let vocabulary = Int.random(in: 1...5, using: &random)
      func tokens(_ most: Int) -> [Int] {
        (0..<Int.random(in: 0...most, using: &random)).map { _ in Int.random(in: 0..<vocabulary, using: &random) }
      }
      var index = NGramIndex(shortest: shortest, longest: longest, candidates: candidates)
      var naive = Naive(shortest: shortest, longest: longest, candidates: candidates)
      for _ in 0..<30 {
        let new = tokens(6)
        index.append(new)
        naive.sequences[naive.sequences.count - 1] += new
        if Int.random(in: 0..<6, using: &random) == 0 {
          index.separate()
          naive.sequences.append([])
        }
        let count = Int.random(in: 1...5, using: &random)
        let isOwn = Bool.random(using: &random)
        let sequence = isOwn ? naive.sequences.last! : tokens(8)
        let one = index.continuation(of: sequence, isOwn: isOwn, count: count)
        let other = naive.continuation(of: sequence, isOwn: isOwn, count: count)
        #expect(one?.matched == other?.matched && one?.tokens == other?.tokens, "seed \(seed) \(sequence)")
        if one != nil { found += 1 }
      }
    }
    #expect(found > 1000)
  }

  @Test func repetitionsGoOn() {
    var index = NGramIndex(shortest: 2, longest: 8)
    index.append([9, 1, 2, 1, 2, 1])
    let found = index.continuation(of: [9, 1, 2, 1, 2, 1], isOwn: true, count: 5)
    #expect(found?.matched == 3 && found?.tokens == [2, 1, 2, 1, 2])
  }
}
