/// GPT-2's alphabet, in which each byte is written as one printable character.
enum ByteLevelAlphabet {
  /// The character of each byte: itself where it is printable, else one of U+0100 and up, in order.
  static let characters: [UInt32] = {
    var next: UInt32 = 0x100
    return (0..<256).map { (byte: UInt32) in
      if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE { return byte }
      next += 1
      return next - 1
    }
  }()

  private static let bytes: [UInt8?] = {
    var bytes = [UInt8?](repeating: nil, count: 0x144)
    for (byte, character) in characters.enumerated() { bytes[Int(character)] = UInt8(byte) }
    return bytes
  }()

  static func encode(_ text: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count * 3 / 2)
    for byte in text { UTF8Scalar.append(characters[Int(byte)], to: &result) }
    return result
  }

  /// The bytes that a token stands for; nil when it has a character that is not of the alphabet.
  static func decode(_ token: [UInt8]) -> [UInt8]? {
    var result: [UInt8] = []
    var index = 0
    while index < token.count {
      var character = Int(token[index])
      index += 1
      if character >= 0x80 {
        // The alphabet ends at U+0143, which takes two bytes of UTF-8.
        guard character < 0xC6, index < token.count else { return nil }
        character = (character & 0x1F) << 6 | Int(token[index] & 0x3F)
        index += 1
      }
      guard character < bytes.count, let byte = bytes[character] else { return nil }
      result.append(byte)
    }
    return result
  }
}
