import JSON

/// Byte pair encoding (Sennrich et al. 2016), with the options of `tokenizers`.
final class BPEModel: Sendable {
  private enum Symbols: Sendable {
    /// The token of each byte, or -1; words are raw bytes, which the vocabulary writes in the byte-level alphabet.
    case bytes([Int32])
    case scalars
  }

  let vocabulary: TokenTable
  /// The text of each token; nil where the ids have a gap.
  let tokens: [String?]
  private let symbols: Symbols
  private let rawVocabulary: TokenTable
  private let merges: MergeTable
  private let wordStarts: WordStarts?
  private let unknown: Int32?
  private let fusesUnknown: Bool
  private let ignoresMerges: Bool
  /// `<0x00>` … `<0xFF>`, or -1, where the model falls back to bytes.
  private let byteTokens: [Int32]?
  var fallsBackToBytes: Bool { byteTokens != nil }
  private let prefix: [UInt8]
  private let suffix: [UInt8]

  /// - Parameter endsInByteLevel: whether words would be given in the byte-level alphabet.
  init(_ component: Component, endsInByteLevel: Bool) throws(TokenizerError) {
    let (vocabulary, tokens) = try Self.vocabulary(component.required("vocab"))
    (self.vocabulary, self.tokens) = (vocabulary, tokens)
    if let dropout = component.optional("dropout"), dropout.value.double != 0 {
      throw dropout.error("is \(dropout.value.text()), and tokenising at random is not supported")
    }
    fusesUnknown = try component.bool("fuse_unk", default: false)
    ignoresMerges = try component.bool("ignore_merges", default: false)
    prefix = Array((try component.optional("continuing_subword_prefix")?.string() ?? "").utf8)
    suffix = Array((try component.optional("end_of_word_suffix")?.string() ?? "").utf8)
    if let name = try component.optional("unk_token")?.string(), !name.isEmpty {
      guard let id = vocabulary.id(name) else { throw component.error("has the unk_token '\(name)', which is not in its vocab") }
      unknown = Int32(id)
    } else {
      unknown = nil
    }
    byteTokens = try component.bool("byte_fallback", default: false)
      ? (0..<256).map { byte in
        let hex = String(byte, radix: 16, uppercase: true)
        return Int32(vocabulary.id("<0x\(hex.count < 2 ? "0" : "")\(hex)>") ?? -1)
      } : nil
    let list = try Self.merges(component, vocabulary, prefixCount: prefix.count)
    merges = MergeTable(list)
    let isPlain = prefix.isEmpty && suffix.isEmpty && byteTokens == nil
    readsBytes = endsInByteLevel && isPlain
    if readsBytes {
      symbols = .bytes(ByteLevelAlphabet.characters.map { Int32(vocabulary.id(String(Unicode.Scalar($0)!)) ?? -1) })
      var raw = TokenTable(minimumCapacity: vocabulary.count)
      for (id, token) in tokens.enumerated() {
        guard let token, let bytes = ByteLevelAlphabet.decode(Array(token.utf8)) else { continue }
        bytes.withUnsafeBufferPointer { _ = raw.insert($0, id: id) }
      }
      rawVocabulary = raw
    } else {
      symbols = .scalars
      rawVocabulary = vocabulary
    }
    wordStarts = readsBytes || !(prefix.isEmpty && suffix.isEmpty) ? nil : WordStarts(list, tokens, vocabulary)
  }

  /// Whether `encode` wants the bytes of a text as they are, and not written in the byte-level alphabet.
  let readsBytes: Bool

  // MARK: - Loading

  private static func vocabulary(_ component: Component) throws(TokenizerError) -> (TokenTable, [String?]) {
    guard let object = component.value.object else { throw component.error("must be an object, not \(component.value.kind)") }
    var table = TokenTable(minimumCapacity: object.count)
    var tokens: [String?] = []
    for (token, value) in object.pairs {
      guard let id = value.int, id >= 0, id < Int(Int32.max) else {
        throw component.error("gives the token '\(token)' the id \(value.text()), which is not one")
      }
      guard id < object.count * 16 + 1_000_000 else { throw component.error("has the id \(id) for only \(object.count) tokens") }
      while tokens.count <= id { tokens.append(nil) }
      tokens[id] = token
      var token = token
      token.withUTF8 { _ = table.insert($0, id: id) }
    }
    return (table, tokens)
  }

  private static func merges(
    _ component: Component, _ vocabulary: TokenTable, prefixCount: Int
  ) throws(TokenizerError) -> [(left: Int32, right: Int32, result: Int32)] {
    let component = try component.required("merges")
    guard let list = component.value.array else { throw component.error("must be an array, not \(component.value.kind)") }
    var merges: [(left: Int32, right: Int32, result: Int32)] = []
    merges.reserveCapacity(list.count)
    for (rank, merge) in list.enumerated() {
      let pair: (left: [UInt8], right: [UInt8])
      if let text = merge.string {
        // "#version" opens a merges.txt that was taken over as it is.
        if text.hasPrefix("#version") { continue }
        let parts = Array(text.utf8).split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw component.error("has at \(rank) '\(text)', which is not two tokens") }
        pair = (Array(parts[0]), Array(parts[1]))
      } else if let parts = merge.array, parts.count == 2, let left = parts[0].string, let right = parts[1].string {
        pair = (Array(left.utf8), Array(right.utf8))
      } else {
        throw component.error("has at \(rank) something that is not two tokens")
      }
      guard let left = vocabulary.id(pair.left), let right = vocabulary.id(pair.right),
        let result = vocabulary.id(pair.left + pair.right.dropFirst(prefixCount))
      else {
        let names = [pair.left, pair.right].map { "'\(String(decoding: $0, as: UTF8.self))'" }.joined(separator: " and ")
        throw component.error("joins at \(rank) \(names), of which a part or the result is not in the vocabulary")
      }
      merges.append((Int32(left), Int32(right), Int32(result)))
    }
    return merges
  }

  // MARK: - Encoding

  /// Appends the tokens of one word.
  @inline(__always)
  func encode(_ word: UnsafePointer<UInt8>, _ count: Int, _ state: inout EncoderState, to ids: inout [Int]) {
    guard let wordStarts else { return encodePart(word, count, &state, to: &ids) }
    if ignoresMerges, let id = rawVocabulary.id(word, count) { return ids.append(id) }
    var start = 0
    while start < count {
      let end = wordStarts.end(of: word, from: start, count)
      encodePart(word + start, end - start, &state, to: &ids)
      start = end
    }
  }

  @inline(__always)
  private func encodePart(_ word: UnsafePointer<UInt8>, _ count: Int, _ state: inout EncoderState, to ids: inout [Int]) {
    if count > WordCache.longestWord { return encodeNew(word, count, &state, to: &ids) }
    let hash = ByteHash.hash(word, count)
    if state.cache.appendTokens(of: word, count, hash: hash, to: &ids) { return }
    let start = ids.count
    encodeNew(word, count, &state, to: &ids)
    state.cache.insert(word, count, hash: hash, tokens: ids[start...])
  }

  private func encodeNew(_ word: UnsafePointer<UInt8>, _ count: Int, _ state: inout EncoderState, to ids: inout [Int]) {
    if ignoresMerges, wordStarts == nil, let id = rawVocabulary.id(word, count) { return ids.append(id) }
    state.merger.removeAll()
    switch symbols {
    case .bytes(let table):
      var unknowns = UnknownRun(unknown, fusesUnknown)
      for i in 0..<count {
        let id = table[Int(word[i])]
        if id >= 0 { unknowns.flush(&state.merger); state.merger.append(id) } else { unknowns.add(&state.merger) }
      }
      unknowns.flush(&state.merger)
    case .scalars:
      appendScalars(word, count, &state.merger)
    }
    state.merger.merge(merges)
    for token in state.merger.symbols { ids.append(Int(token)) }
  }

  private func appendScalars(_ word: UnsafePointer<UInt8>, _ count: Int, _ merger: inout WordMerger) {
    var unknowns = UnknownRun(unknown, fusesUnknown)
    var index = 0
    while index < count {
      let length = UTF8Scalar.length(lead: word[index])
      let (isFirst, isLast) = (index == 0, index + length == count)
      let id: Int?
      if prefix.isEmpty && suffix.isEmpty {
        id = vocabulary.id(word + index, length)
      } else {
        let scalar = UnsafeBufferPointer(start: word + index, count: length)
        id = vocabulary.id((isFirst ? [] : prefix) + scalar + (isLast ? suffix : []))
      }
      if let id {
        unknowns.flush(&merger)
        merger.append(Int32(id))
      } else if !appendBytes(word + index, length, isFirst, isLast, &merger) {
        unknowns.add(&merger)
      }
      index += length
    }
    unknowns.flush(&merger)
  }

  /// The scalar as tokens of single bytes, if the vocabulary has all of them. Pending unknowns come after these, as in the
  /// original.
  private func appendBytes(
    _ scalar: UnsafePointer<UInt8>, _ length: Int, _ isFirst: Bool, _ isLast: Bool, _ merger: inout WordMerger
  ) -> Bool {
    guard let byteTokens else { return false }
    let text = (isFirst ? [] : prefix) + UnsafeBufferPointer(start: scalar, count: length) + (isLast ? suffix : [])
    guard text.allSatisfy({ byteTokens[Int($0)] >= 0 }) else { return false }
    for byte in text { merger.append(byteTokens[Int(byte)]) }
    return true
  }
}

/// Unknown characters wait until it is clear whether more follow, which `fuse_unk` makes one token of.
private struct UnknownRun {
  private let token: Int32?
  private let fuses: Bool
  private var isPending = false

  init(_ token: Int32?, _ fuses: Bool) { (self.token, self.fuses) = (token, fuses) }

  mutating func add(_ merger: inout WordMerger) {
    if isPending, !fuses { flush(&merger) }
    isPending = token != nil
  }

  @inline(__always)
  mutating func flush(_ merger: inout WordMerger) {
    if isPending, let token { merger.append(token) }
    isPending = false
  }
}
