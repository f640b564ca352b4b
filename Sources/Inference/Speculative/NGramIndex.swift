/// Finds where the end of a sequence stood before in a text, and how it went on there.
///
/// A text of token sequences, one after another. Positions after equal runs of `shortest` tokens form a chain, the latest
/// first, as in LZ77 compressors: adding a token costs one look into a table, and looking one up a walk along the latest
/// `candidates` places.
package struct NGramIndex {
  /// Stands between sequences and matches nothing.
  private static let separator: Int32 = -1

  let shortest: Int
  let longest: Int
  let candidates: Int
  private var text: [Int32] = []
  /// By the number of a run of `shortest` tokens: the last position that follows one. 0: none.
  private var latest: [UInt64: Int32] = [:]
  /// By position: the one before in its chain.
  private var earlier: [Int32] = [0]

  package init(shortest: Int, longest: Int, candidates: Int = 64) {
    (self.shortest, self.longest, self.candidates) = (shortest, longest, candidates)
  }

  package var count: Int { text.count }

  /// Tokens that continue the last sequence.
  package mutating func append(_ tokens: some Sequence<Int>) {
    for token in tokens {
      text.append(Int32(truncatingIfNeeded: token))
      let key = key(text)
      earlier.append(key.flatMap { latest[$0] } ?? 0)
      if let key { latest[key] = Int32(text.count) }
    }
  }

  /// The next tokens begin another sequence.
  package mutating func separate() {
    text.append(Self.separator)
    earlier.append(0)
  }

  /// How the longest end of `sequence` that is in the text, of `shortest...longest` tokens, went on where it stood last;
  /// nil: none is, or nothing followed. Where what follows reaches the end of `sequence` itself, the text repeats, and so
  /// does the continuation.
  /// - Parameter isOwn: whether the text ends with `sequence`.
  package func continuation(of sequence: [Int], isOwn: Bool, count: Int) -> (matched: Int, tokens: [Int])? {
    let end = sequence.suffix(shortest).map { Int32(truncatingIfNeeded: $0) }
    guard let key = key(end) else { return nil }
    var best: (matched: Int, place: Int)?
    var place = Int(latest[key] ?? 0)
    for _ in 0..<candidates {
      if place == text.count { place = Int(earlier[place]) }
      guard place > 0 else { break }
      if text[place] != Self.separator {
        let matched = matchLength(place, sequence)
        if matched >= shortest, matched > best?.matched ?? 0 { best = (matched, place) }
        if matched == longest { break }
      }
      place = Int(earlier[place])
    }
    return best.map { ($0.matched, tokens(from: $0.place, count: count, repeats: isOwn)) }
  }

  private func matchLength(_ place: Int, _ sequence: [Int]) -> Int {
    var length = 0
    while length < min(longest, place, sequence.count),
      text[place - 1 - length] == Int32(truncatingIfNeeded: sequence[sequence.count - 1 - length])
    { length += 1 }
    return length
  }

  private func tokens(from place: Int, count: Int, repeats: Bool) -> [Int] {
    var tokens: [Int] = []
    for offset in 0..<count {
      let position = place + offset
      if position < text.count {
        if text[position] == Self.separator { break }
        tokens.append(Int(text[position]))
      } else if repeats {
        tokens.append(tokens[position - text.count])
      } else {
        break
      }
    }
    return tokens
  }

  /// The number of the last `shortest` tokens; nil: there are not as many.
  private func key(_ text: [Int32]) -> UInt64? {
    guard text.count >= shortest else { return nil }
    var key: UInt64 = 0
    for token in text[(text.count - shortest)...] {
      if token == Self.separator { return nil }
      key = (key ^ UInt64(UInt32(bitPattern: token))) &* 0x9E37_79B9_7F4A_7C15
      key ^= key >> 29
    }
    return key
  }
}
