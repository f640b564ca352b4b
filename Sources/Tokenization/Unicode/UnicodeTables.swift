/// Unicode data as measured on the Python package (see Scripts/make_unicode_tables.py), packed into text.
enum UnicodeTables {
  /// Reads numbers of five bits a character, lowest first; characters of the upper half say that more follow.
  struct Reader {
    private var bytes: ArraySlice<UInt8>

    init(_ text: StaticString) { self.init(text.withUTF8Buffer { Array($0)[...] }) }
    init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    var isAtEnd: Bool { bytes.isEmpty }

    mutating func digit() -> Int { Self.value(bytes.removeFirst()) }

    mutating func number() -> Int {
      var (value, shift) = (0, 0)
      while true {
        let digit = digit()
        value |= (digit & 31) << shift
        if digit < 32 { return value }
        shift += 5
      }
    }

    mutating func signed() -> Int {
      let value = number()
      return value & 1 == 0 ? value / 2 : -(value + 1) / 2
    }

    /// Gap, length, gap, length …
    mutating func ranges() -> ScalarSet {
      var ranges: [ClosedRange<UInt32>] = []
      var end = 0
      while !isAtEnd {
        let start = end + number()
        end = start + number()
        ranges.append(UInt32(start)...UInt32(end - 1))
      }
      return ScalarSet(ranges)
    }

    /// The base 64 digit that a character stands for.
    private static func value(_ byte: UInt8) -> Int {
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): Int(byte) - 65
      case UInt8(ascii: "a")...UInt8(ascii: "z"): Int(byte) - 71
      case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte) + 4
      case UInt8(ascii: "+"): 62
      default: 63
      }
    }
  }
}
