/// Where a long word can be cut because no merge could ever join the two sides.
///
/// In a SentencePiece vocabulary no token has a `▁` after another character, so a text that comes as one word (Llama 2) still
/// falls into words that the cache knows.
struct WordStarts: Sendable {
  /// The scalars that a merge puts only after themselves.
  private let starts: ScalarTable

  init?(_ merges: [(left: Int32, right: Int32, result: Int32)], _ tokens: [String?], _ vocabulary: TokenTable) {
    var starting: Set<UInt32> = []
    var joined: Set<UInt32> = []
    for merge in merges {
      guard let left = tokens[Int(merge.left)]?.unicodeScalars, let right = tokens[Int(merge.right)]?.unicodeScalars.first
      else { continue }
      if let first = left.first { starting.insert(first.value) }
      if left.last != right { joined.insert(right.value) }
    }
    // One that is unknown by itself would be part of a run of unknown characters, which can be fused.
    starting = starting.subtracting(joined).filter { vocabulary.id(String(Unicode.Scalar($0)!)) != nil }
    if starting.isEmpty { return nil }
    starts = ScalarTable([ScalarSet(starting)])
  }

  /// The end of the part that begins at `start`: before the next scalar that nothing before it can merge with.
  func end(of word: UnsafePointer<UInt8>, from start: Int, _ count: Int) -> Int {
    var index = start + UTF8Scalar.length(lead: word[start])
    while index < count {
      if starts.length(ofMember: word, index, set: 0) > 0 {
        let previous = UTF8Scalar.start(word, before: index)
        if UTF8Scalar.decode(word, index).scalar != UTF8Scalar.decode(word, previous).scalar { return index }
      }
      index += UTF8Scalar.length(lead: word[index])
    }
    return count
  }
}
