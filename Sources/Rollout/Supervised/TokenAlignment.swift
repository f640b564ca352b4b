/// Maps ranges of a text to tokens of the whole text.
struct TokenAlignment {
  let encode: @Sendable (String) throws -> [Int]
  let text: String

  /// Tokens of the text, with 1 for those that lie within a range. A token that reaches over an edge of a range is outside: it
  /// could not have been sampled by itself.
  /// - Parameter ranges: UTF-8 offsets, ascending.
  /// - Throws: `SampleError` when the tokens around an edge do not fit the text's parts.
  func mask(_ ranges: [Range<Int>]) throws -> MaskedConversation {
    let tokens = try encode(text)
    if let mask = try maskOfParts(ranges, of: tokens) { return MaskedConversation(tokens: tokens, mask: mask) }
    var mask = Array(repeating: 0, count: tokens.count)
    for range in ranges {
      let start = try edge(range.lowerBound, in: tokens, step: 1)
      let end = try edge(range.upperBound, in: tokens, step: -1)
      for position in start..<max(start, end) { mask[position] = 1 }
    }
    return MaskedConversation(tokens: tokens, mask: mask)
  }

  /// The mask, when the text cut at all edges has the same tokens as the whole.
  private func maskOfParts(_ ranges: [Range<Int>], of tokens: [Int]) throws -> [Int]? {
    var (joined, mask): ([Int], [Int]) = ([], [])
    var cursor = 0
    func add(_ upper: Int, _ value: Int) throws {
      guard upper > cursor else { return }
      let part = try encode(slice(cursor, upper))
      joined += part
      mask += Array(repeating: value, count: part.count)
      cursor = upper
    }
    for range in ranges {
      try add(range.lowerBound, 0)
      try add(range.upperBound, 1)
    }
    try add(text.utf8.count, 0)
    return joined == tokens ? mask : nil
  }

  /// The number of tokens before the first place, from `offset` on in the direction of `step`, where the text's tokens part.
  private func edge(_ offset: Int, in tokens: [Int], step: Int) throws -> Int {
    let reach = 64
    for moved in stride(from: offset, through: offset + step * reach, by: step) where (0...text.utf8.count).contains(moved) {
      guard isScalarBoundary(moved) else { continue }
      let before = try encode(slice(0, moved))
      if tokens.starts(with: before) { return before.count }
    }
    throw SampleError(
      "no token of the rendered conversation ends near \"\(slice(max(0, offset - 16), offset))\", where a "
        + "turn begins or ends; its tokens cannot be told apart")
  }

  private func isScalarBoundary(_ offset: Int) -> Bool {
    text.utf8.index(text.utf8.startIndex, offsetBy: offset).samePosition(in: text.unicodeScalars) != nil
  }

  private func slice(_ lower: Int, _ upper: Int) -> String {
    String(decoding: text.utf8.dropFirst(lower).prefix(upper - lower), as: UTF8.self)
  }
}
