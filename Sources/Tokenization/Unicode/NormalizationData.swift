/// Decompositions, compositions and combining classes, unpacked once.
final class NormalizationData: Sendable {
  static let shared = NormalizationData()

  private let canonical: [UInt32: [UInt32]]
  private let compatible: [UInt32: [UInt32]]
  private let compositions: [UInt64: UInt32]
  private let combiningClasses: [UInt32: UInt8]
  /// One bit for each form, and for each scalar, in blocks of 256: whether it is unstable.
  private let blockNumbers: [UInt16]
  private let blocks: [UInt8]

  private init() {
    var (canonical, compatible, composing): ([UInt32: [UInt32]], [UInt32: [UInt32]], [(UInt32, [UInt32])]) = ([:], [:], [])
    var reader = UnicodeTables.Reader(UnicodeTables.decompositions)
    var (scalar, previous) = (0, 0)
    while !reader.isAtEnd {
      scalar += reader.number()
      let kind = reader.number()
      previous += reader.signed()
      let to = [UInt32(previous)] + (1..<max(kind >> 2, 1)).map { _ in UInt32(reader.number()) }
      if kind & 1 == 0 { canonical[UInt32(scalar)] = to } else { compatible[UInt32(scalar)] = to }
      if kind & 2 != 0 { composing.append((UInt32(scalar), to)) }
    }
    // A composite is its decomposition's last scalar on the composition of the others, which is shorter.
    var compositions: [UInt64: UInt32] = [:]
    for (composite, parts) in composing.sorted(by: { $0.1.count < $1.1.count }) {
      let first = parts.dropLast().dropFirst().reduce(parts[0]) { compositions[UInt64($0) << 32 | UInt64($1)] ?? $0 }
      compositions[UInt64(first) << 32 | UInt64(parts[parts.count - 1])] = composite
    }
    var classes: [UInt32: UInt8] = [:]
    reader = UnicodeTables.Reader(UnicodeTables.combiningClasses)
    scalar = 0
    while !reader.isAtEnd {
      scalar += reader.number()
      classes[UInt32(scalar)] = UInt8(reader.number())
    }
    (self.canonical, self.compatible, self.compositions, combiningClasses) = (canonical, compatible, compositions, classes)

    let composites = Set(composing.map(\.0))
    let seconds = Set(compositions.keys.map { UInt32(truncatingIfNeeded: $0) })
    var flags: [UInt32: UInt8] = [:]
    for scalar in canonical.keys { flags[scalar, default: 0] |= composites.contains(scalar) ? 0b0011 : 0b1111 }
    for scalar in compatible.keys { flags[scalar, default: 0] |= 0b1010 }
    for scalar in seconds { flags[scalar, default: 0] |= 0b1100 }
    for scalar in classes.keys { flags[scalar, default: 0] |= 0b1111 }
    for scalar: UInt32 in 0x1160..<0x1200 where Hangul.combinesBackwards(scalar) { flags[scalar, default: 0] |= 0b1100 }
    for scalar: UInt32 in 0xAC00..<0xD7A4 { flags[scalar, default: 0] |= 0b0011 }
    var (numbers, blocks) = ([UInt16](repeating: 0, count: 0x1100), [UInt8](repeating: 0, count: 256))
    for (scalar, bits) in flags {
      if numbers[Int(scalar >> 8)] == 0 {
        numbers[Int(scalar >> 8)] = UInt16(blocks.count / 256)
        blocks += [UInt8](repeating: 0, count: 256)
      }
      blocks[Int(numbers[Int(scalar >> 8)]) * 256 + Int(scalar & 255)] = bits
    }
    (blockNumbers, self.blocks) = (numbers, blocks)
  }

  /// Whether a text with this scalar may not be in the form.
  func isUnstable(_ scalar: UInt32, composed: Bool, compatible: Bool) -> Bool {
    let bit: UInt8 = composed ? (compatible ? 0b1000 : 0b0100) : (compatible ? 0b0010 : 0b0001)
    return blocks[Int(blockNumbers[Int(scalar >> 8)]) * 256 + Int(scalar & 255)] & bit != 0
  }

  /// The full decomposition, or nil where the scalar stands for itself. Not for Hangul.
  func decomposition(of scalar: UInt32, compatible isCompatible: Bool) -> [UInt32]? {
    (isCompatible ? compatible[scalar] : nil) ?? canonical[scalar]
  }

  func combiningClass(of scalar: UInt32) -> UInt8 { scalar < 0x300 ? 0 : combiningClasses[scalar] ?? 0 }

  func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
    Hangul.composition(first, second) ?? compositions[UInt64(first) << 32 | UInt64(second)]
  }
}
