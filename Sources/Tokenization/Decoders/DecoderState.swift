/// A part of a token's text on its way through the steps. Once tokens are fused there is one token, of many parts.
struct TokenPart {
  var bytes: [UInt8]
  var isStart: Bool
  var isEnd: Bool
}

/// What one step remembers from part to part.
struct DecoderState: Sendable {
  private let step: DecoderStep
  private let stack = UncheckedStack()
  /// Bytes that wait for what follows.
  private var held: [UInt8] = []
  private var isStart = true
  private var isFirstToken = true
  private var leading = 0
  private var heldToken: [UInt8]?
  private var wholeToken: [UInt8] = []

  /// One decoder belongs to one thread at a time, and so does its stack.
  private struct UncheckedStack: @unchecked Sendable { let stack = MatchStack() }

  init(_ step: DecoderStep) { self.step = step }

  /// Takes a part, and gives to `emit` what can be said already.
  mutating func push(_ part: TokenPart, _ emit: (TokenPart) -> Void) {
    if part.isStart, !step.fuses { isStart = true }
    switch step {
    case .joinBySpaces:
      let separator: [UInt8] = part.isStart && !isFirstToken ? [0x20] : []
      if part.isStart { isFirstToken = false }
      send(separator + part.bytes, isEnd: part.isEnd, emit)
    case .fuse:
      send(part.bytes, isEnd: false, emit)
    case .byteLevel:
      guard let token = whole(part) else { return }
      held += ByteLevelAlphabet.decode(token) ?? token
      let complete = held.count - Self.incompleteSuffix(held)
      if complete > 0 {
        send(Array(String(decoding: held[..<complete], as: UTF8.self).utf8), isEnd: false, emit)
        held.removeFirst(complete)
      }
    case .byteFallback:
      guard let token = whole(part) else { return }
      if let byte = Self.byte(token) { return held.append(byte) }
      flushBytes(emit)
      emit(TokenPart(bytes: token, isStart: true, isEnd: true))
    case .replace(let pattern, let literal, let content):
      held += part.bytes
      if part.isEnd {
        let text = pattern.replacing(in: held, with: content, stack.stack)
        held = []
        send(text, isEnd: true, emit)
      } else if let literal {
        replaceAvailable(literal, content, emit)
      }
    case .strip(let content, let start, let stop):
      if part.isStart { leading = start }
      strip(part, content, stop, emit)
    case .metaspace(let replacement, let strips):
      let drops = strips && isFirstToken
      send(replacement.replacing(in: part.bytes, with: drops ? [] : [0x20], stack.stack), isEnd: part.isEnd, emit)
      if part.isEnd { isFirstToken = false }
    case .bpe(let suffix):
      guard let token = whole(part) else { return }
      emitHeld(suffix, with: [0x20], emit)
      heldToken = token
    }
  }

  /// Gives to `emit` what was held back, when no token follows.
  mutating func finish(_ emit: (TokenPart) -> Void) {
    switch step {
    case .fuse:
      send([], isEnd: true, emit)
    case .byteLevel:
      send(Array(String(decoding: held, as: UTF8.self).utf8), isEnd: true, emit)
    case .byteFallback:
      flushBytes(emit)
    case .bpe(let suffix):
      emitHeld(suffix, with: [], emit)
    case .joinBySpaces, .replace, .strip, .metaspace:
      break
    }
  }

  private func emitHeld(_ suffix: RegexProgram, with content: [UInt8], _ emit: (TokenPart) -> Void) {
    guard let heldToken else { return }
    emit(TokenPart(bytes: suffix.replacing(in: heldToken, with: content, stack.stack), isStart: true, isEnd: true))
  }

  private mutating func send(_ bytes: [UInt8], isEnd: Bool, _ emit: (TokenPart) -> Void) {
    if bytes.isEmpty, !isEnd { return }
    emit(TokenPart(bytes: bytes, isStart: isStart, isEnd: isEnd))
    isStart = false
  }

  /// The whole token, once its last part is there.
  private mutating func whole(_ part: TokenPart) -> [UInt8]? {
    if part.isStart, part.isEnd { return part.bytes }
    wholeToken += part.bytes
    guard part.isEnd else { return nil }
    defer { wholeToken = [] }
    return wholeToken
  }

  // MARK: - Bytes

  /// How many bytes at the end belong to a character whose other bytes are still to come.
  private static func incompleteSuffix(_ bytes: [UInt8]) -> Int {
    for count in 1...3 where count <= bytes.count {
      let byte = bytes[bytes.count - count]
      if byte & 0xC0 == 0x80 { continue }
      return byte >= 0xC0 && UTF8Scalar.length(lead: byte) > count ? count : 0
    }
    return 0
  }

  /// The byte of a token like `<0x0A>`.
  static func byte(_ token: [UInt8]) -> UInt8? {
    guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">") else { return nil }
    let digits = String(decoding: token[3...4], as: UTF8.self)
    return digits.first == "+" || digits.first == "-" ? nil : UInt8(digits, radix: 16)
  }

  /// A run of bytes is text if all of it is; else each byte becomes U+FFFD.
  private mutating func flushBytes(_ emit: (TokenPart) -> Void) {
    if held.isEmpty { return }
    if String(validating: held, as: UTF8.self) != nil {
      emit(TokenPart(bytes: held, isStart: true, isEnd: true))
    } else {
      for _ in held { emit(TokenPart(bytes: Array("\u{FFFD}".utf8), isStart: true, isEnd: true)) }
    }
    held = []
  }

  // MARK: - Replacing and stripping what is not complete

  /// Replaces what is there of `literal`, holding back an end that might become one.
  private mutating func replaceAvailable(_ literal: [UInt8], _ content: [UInt8], _ emit: (TokenPart) -> Void) {
    var (text, index): ([UInt8], Int) = ([], 0)
    while index < held.count {
      let rest = held[index...]
      if rest.starts(with: literal) {
        text += content
        index += literal.count
      } else if rest.count < literal.count, literal.starts(with: rest) {
        break
      } else {
        text.append(held[index])
        index += 1
      }
    }
    held.removeFirst(index)
    send(text, isEnd: false, emit)
  }

  private mutating func strip(_ part: TokenPart, _ content: [UInt8], _ stop: Int, _ emit: (TokenPart) -> Void) {
    var bytes = held + part.bytes
    var start = 0
    while leading > 0, start < bytes.count {
      if bytes[start...].starts(with: content) {
        start += content.count
        leading -= 1
      } else {
        leading = 0
      }
    }
    bytes.removeFirst(start)
    var end = bytes.count
    for _ in 0..<stop where end >= content.count && bytes[..<end].suffix(content.count).elementsEqual(content) {
      end -= content.count
    }
    held = part.isEnd ? [] : Array(bytes[end...])
    send(Array(bytes[..<end]), isEnd: part.isEnd, emit)
  }
}

extension DecoderStep {
  /// Whether the step makes one token of all.
  fileprivate var fuses: Bool {
    switch self {
    case .fuse, .byteLevel: true
    case .joinBySpaces, .byteFallback, .replace, .strip, .metaspace, .bpe: false
    }
  }
}
