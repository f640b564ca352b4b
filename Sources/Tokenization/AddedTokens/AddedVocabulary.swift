/// The added tokens, and how they are found in a text.
struct AddedVocabulary: Sendable {
  private(set) var tokens: [Int: AddedToken] = [:]
  private var ids = TokenTable()
  private var order: [Int] = []
  /// What `decode` takes each token for: its normalized content, if it is a normalized one.
  private(set) var texts: [Int: String] = [:]
  private var specials = TokenTable()
  private var raw = TokenTrie()
  private var normalized = TokenTrie()
  private let word = ScalarTable([UnicodeProperties.rustWord, UnicodeProperties.whitespace])

  /// Adds tokens as the Python package does: one that the model knows keeps the model's id, others get the next free one;
  /// what comes again replaces what was there.
  mutating func add(_ list: [AddedToken], _ model: BPEModel) {
    for token in list where !token.content.isEmpty {
      let id = id(token.content) ?? model.vocabulary.id(token.content) ?? nextID(model)
      var content = token.content
      content.withUTF8 { _ = ids.insert($0, id: id) }
      if tokens.updateValue(token, forKey: id) == nil { order.append(id) }
    }
  }

  private func nextID(_ model: BPEModel) -> Int {
    guard let highest = order.max() else { return model.vocabulary.count }
    return max(highest + 1, model.vocabulary.count)
  }

  /// Prepares the search, once all tokens are there.
  mutating func prepareSearch(_ normalizer: Normalizer?) {
    (raw, normalized, specials, texts) = (TokenTrie(), TokenTrie(), TokenTable(), [:])
    for isSpecial in [true, false] {
      for id in order where tokens[id]!.special == isSpecial {
        let token = tokens[id]!
        var content = Array(token.content.utf8)
        if token.special { content.withUnsafeBufferPointer { _ = specials.insert($0, id: id) } }
        if token.normalized, let normalizer { content = normalizer.normalize(content, MatchStack()) }
        texts[id] = String(decoding: content, as: UTF8.self)
        if token.normalized { normalized.insert(content, id: id) } else { raw.insert(content, id: id) }
      }
    }
  }

  func id(_ content: String) -> Int? { ids.id(content) }
  func isSpecial(_ id: Int) -> Bool { tokens[id]?.special ?? false }
  /// Whether decoding can leave the token out. Like the Python package it goes by the text, so that a special token which
  /// the normalizer changes stays.
  func isSkipped(_ id: Int) -> Bool { texts[id].map { specials.id($0) != nil } ?? false }
  var highestID: Int? { order.max() }

  /// Cuts a text into added tokens and normalized text between them.
  func split(_ text: [UInt8], _ normalizer: Normalizer?, _ stack: MatchStack) -> Pieces {
    let outer = split(text, Piece(start: 0, end: text.count), raw)
    if normalizer == nil, normalized.isEmpty { return Pieces(bytes: text, pieces: outer) }
    var result = Pieces(bytes: [], pieces: [])
    result.bytes.reserveCapacity(text.count + 16)
    for piece in outer {
      let start = result.bytes.count
      if piece.token >= 0 {
        result.bytes += text[piece.start..<piece.end]
        result.pieces.append(Piece(start: start, end: result.bytes.count, token: piece.token))
        continue
      }
      let part = piece.end - piece.start == text.count ? text : Array(text[piece.start..<piece.end])
      if start == 0, let normalizer { result.startsAtOrigin = !normalizer.dropsFirstScalar(of: part) }
      result.bytes += normalizer?.normalize(part, stack) ?? part
      result.pieces += split(result.bytes, Piece(start: start, end: result.bytes.count), normalized)
    }
    return result
  }

  private func split(_ bytes: [UInt8], _ piece: Piece, _ trie: TokenTrie) -> [Piece] {
    if piece.start == piece.end { return [] }
    if trie.isEmpty { return [piece] }
    return bytes.withUnsafeBufferPointer { buffer in
      let text = buffer.baseAddress! + piece.start
      let count = piece.end - piece.start
      var pieces: [Piece] = []
      var (position, done) = (0, 0)
      while let match = trie.firstMatch(in: text, from: position, end: count) {
        position = match.end
        let token = tokens[match.id]!
        var (start, end) = (match.start, match.end)
        if token.singleWord, isWord(text, before: start) || isWord(text, at: end, count) { continue }
        if token.lstrip { start = max(spaceStart(text, before: start), done) }
        if token.rstrip { end = spaceEnd(text, from: end, count) }
        if start > done { pieces.append(Piece(start: piece.start + done, end: piece.start + start)) }
        pieces.append(Piece(start: piece.start + start, end: piece.start + end, token: match.id))
        done = end
      }
      if done < count { pieces.append(Piece(start: piece.start + done, end: piece.end)) }
      return pieces
    }
  }

  private func isWord(_ text: UnsafePointer<UInt8>, before index: Int) -> Bool {
    index > 0 && word.length(ofMember: text, UTF8Scalar.start(text, before: index), set: 0) > 0
  }

  private func isWord(_ text: UnsafePointer<UInt8>, at index: Int, _ count: Int) -> Bool {
    index < count && word.length(ofMember: text, index, set: 0) > 0
  }

  private func spaceStart(_ text: UnsafePointer<UInt8>, before index: Int) -> Int {
    var index = index
    while index > 0 {
      let start = UTF8Scalar.start(text, before: index)
      if word.length(ofMember: text, start, set: 1) == 0 { break }
      index = start
    }
    return index
  }

  private func spaceEnd(_ text: UnsafePointer<UInt8>, from index: Int, _ count: Int) -> Int {
    var index = index
    while index < count {
      let length = word.length(ofMember: text, index, set: 1)
      if length == 0 { break }
      index += length
    }
    return index
  }
}
