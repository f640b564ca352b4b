/// What is done to a text before it is split.
enum Normalizer: Sendable {
  case sequence([Normalizer])
  case unicode(NormalForm)
  case lowercase
  case stripAccents
  case strip(left: Bool, right: Bool)
  case prepend([UInt8])
  case replace(RegexProgram, with: [UInt8])
  case byteLevel

  init(_ component: Component) throws(TokenizerError) {
    switch component.type {
    case "Sequence":
      var steps: [Normalizer] = []
      for step in try component.array("normalizers") { steps.append(try Normalizer(step)) }
      self = .sequence(steps)
    case "NFC": self = .unicode(.nfc)
    case "NFD": self = .unicode(.nfd)
    case "NFKC": self = .unicode(.nfkc)
    case "NFKD": self = .unicode(.nfkd)
    case "Lowercase": self = .lowercase
    case "StripAccents": self = .stripAccents
    case "Strip": self = .strip(left: try component.bool("strip_left"), right: try component.bool("strip_right"))
    case "Prepend": self = .prepend(Array(try component.string("prepend").utf8))
    case "Replace": self = .replace(try component.pattern("pattern"), with: Array(try component.string("content").utf8))
    case "ByteLevel": self = .byteLevel
    default: throw component.unsupported("normalizer")
    }
  }

  func normalize(_ text: [UInt8], _ stack: MatchStack) -> [UInt8] {
    switch self {
    case .sequence(let steps): return steps.reduce(text) { $1.normalize($0, stack) }
    case .unicode(let form): return form.normalize(text)
    case .lowercase: return Lowercase.lowercased(text)
    case .stripAccents: return Self.removing(UnicodeProperties.rustMark, from: text)
    case .strip(let left, let right): return Self.stripped(text, left, right)
    case .prepend(let prefix): return text.isEmpty ? text : prefix + text
    case .replace(let pattern, let content): return pattern.replacing(in: text, with: content, stack)
    case .byteLevel: return ByteLevelAlphabet.encode(text)
    }
  }

  private static func removing(_ set: ScalarSet, from text: [UInt8]) -> [UInt8] {
    guard text.contains(where: { $0 >= 0x80 }) else { return text }
    var result: [UInt8] = []
    for scalar in String(decoding: text, as: UTF8.self).unicodeScalars where !set.contains(scalar.value) {
      UTF8Scalar.append(scalar.value, to: &result)
    }
    return result
  }

  private static func stripped(_ text: [UInt8], _ left: Bool, _ right: Bool) -> [UInt8] {
    let scalars = String(decoding: text, as: UTF8.self).unicodeScalars
    func isSpace(_ scalar: Unicode.Scalar) -> Bool { UnicodeProperties.whitespace.contains(scalar.value) }
    let start = left ? scalars.firstIndex { !isSpace($0) } ?? scalars.endIndex : scalars.startIndex
    let rest = scalars[start...]
    let end = right ? rest.lastIndex { !isSpace($0) }.map(rest.index(after:)) ?? start : rest.endIndex
    return Array(String(rest[..<end]).utf8)
  }
}

/// Rust's `char::to_lowercase`, scalar by scalar.
enum Lowercase {
  private static let table: [UInt32: [UInt32]] = {
    var reader = UnicodeTables.Reader(UnicodeTables.lowercase)
    var (table, scalar): ([UInt32: [UInt32]], Int) = ([:], 0)
    while !reader.isAtEnd {
      scalar += reader.number()
      table[UInt32(scalar)] = (0..<reader.number()).map { _ in UInt32(scalar + reader.signed()) }
    }
    return table
  }()

  static func lowercased(_ text: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    text.withUnsafeBufferPointer { buffer in
      guard let bytes = buffer.baseAddress else { return }
      var index = 0
      while index < buffer.count {
        let (scalar, length) = UTF8Scalar.decode(bytes, index)
        index += length
        if scalar < 0x80 {
          result.append(UInt8(scalar) + (scalar >= 0x41 && scalar <= 0x5A ? 32 : 0))
        } else {
          for lower in table[scalar] ?? [scalar] { UTF8Scalar.append(lower, to: &result) }
        }
      }
    }
    return result
  }
}

extension Normalizer {
  /// Whether nothing of the result stands for the text's first scalar.
  func dropsFirstScalar(of text: [UInt8]) -> Bool {
    guard let first = String(decoding: text.prefix(4), as: UTF8.self).unicodeScalars.first else { return false }
    switch self {
    case .sequence(let steps): return steps.contains { $0.dropsFirstScalar(of: text) }
    case .strip(let left, _): return left && UnicodeProperties.whitespace.contains(first.value)
    case .stripAccents: return UnicodeProperties.rustMark.contains(first.value)
    case .unicode, .lowercase, .prepend, .replace, .byteLevel: return false
    }
  }
}
