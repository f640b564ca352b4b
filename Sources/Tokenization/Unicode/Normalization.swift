/// The Unicode normal forms (UAX #15), with the data of the Python package.
enum NormalForm: Sendable {
  case nfd, nfkd, nfc, nfkc

  private var isCompatible: Bool { self == .nfkd || self == .nfkc }
  private var isComposed: Bool { self == .nfc || self == .nfkc }

  func normalize(_ text: [UInt8]) -> [UInt8] {
    if isSurelyNormal(text) { return text }
    var (scalars, classes) = decompose(text)
    Self.reorder(&scalars, &classes)
    if isComposed { Self.compose(&scalars, classes) }
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    for scalar in scalars { UTF8Scalar.append(scalar, to: &result) }
    return result
  }

  /// True only if no scalar of the text can change: none decomposes for good, combines with one before, or moves.
  private func isSurelyNormal(_ text: [UInt8]) -> Bool {
    guard let data = text.firstIndex(where: { $0 >= 0x80 }) else { return true }
    return text.withUnsafeBufferPointer { buffer in
      let bytes = buffer.baseAddress!
      var index = data
      while index < buffer.count {
        if bytes[index] < 0x80 { index += 1; continue }
        let (scalar, length) = UTF8Scalar.decode(bytes, index)
        if NormalizationData.shared.isUnstable(scalar, composed: isComposed, compatible: isCompatible) { return false }
        index += length
      }
      return true
    }
  }

  private func decompose(_ text: [UInt8]) -> (scalars: [UInt32], classes: [UInt8]) {
    let data = NormalizationData.shared
    var scalars: [UInt32] = []
    scalars.reserveCapacity(text.count)
    text.withUnsafeBufferPointer { buffer in
      guard let bytes = buffer.baseAddress else { return }
      var index = 0
      while index < buffer.count {
        let (scalar, length) = UTF8Scalar.decode(bytes, index)
        index += length
        if let hangul = Hangul.decomposition(of: scalar) {
          scalars += hangul
        } else if scalar >= 0xA0, let many = data.decomposition(of: scalar, compatible: isCompatible) {
          scalars += many
        } else {
          scalars.append(scalar)
        }
      }
    }
    return (scalars, scalars.map { data.combiningClass(of: $0) })
  }

  /// Sorts each run of combining marks by class, keeping the order of equal ones.
  private static func reorder(_ scalars: inout [UInt32], _ classes: inout [UInt8]) {
    var index = 0
    while index < scalars.count {
      guard classes[index] != 0 else { index += 1; continue }
      var end = index
      while end < scalars.count, classes[end] != 0 { end += 1 }
      let isSorted = zip(classes[index..<end], classes[(index + 1)..<max(end, index + 1)]).allSatisfy { $0 <= $1 }
      if !isSorted {
        let order = (index..<end).sorted { (classes[$0], $0) < (classes[$1], $1) }
        let (marks, sorted) = (order.map { scalars[$0] }, order.map { classes[$0] })
        scalars.replaceSubrange(index..<end, with: marks)
        classes.replaceSubrange(index..<end, with: sorted)
      }
      index = end
    }
  }

  private static func compose(_ scalars: inout [UInt32], _ classes: [UInt8]) {
    let data = NormalizationData.shared
    var starter: Int?
    var lastClass: UInt8 = 0
    var out = 0
    for index in scalars.indices {
      let (scalar, mark) = (scalars[index], classes[index])
      if let starter, out == starter + 1 || lastClass < mark, let composed = data.composition(scalars[starter], scalar) {
        scalars[starter] = composed
        continue
      }
      scalars[out] = scalar
      if mark == 0 { starter = out }
      lastClass = mark
      out += 1
    }
    scalars.removeSubrange(out...)
  }
}

/// Hangul syllables compose by arithmetic (The Unicode Standard, 3.12).
enum Hangul {
  private static let (syllables, leads, vowels, trails): (UInt32, UInt32, UInt32, UInt32) = (0xAC00, 0x1100, 0x1161, 0x11A7)
  private static let (vowelCount, trailCount): (UInt32, UInt32) = (21, 28)
  private static let count: UInt32 = 11172

  static func isSyllable(_ scalar: UInt32) -> Bool { scalar >= syllables && scalar < syllables + count }

  static func decomposition(of scalar: UInt32) -> [UInt32]? {
    guard isSyllable(scalar) else { return nil }
    let index = scalar - syllables
    let trail = index % trailCount
    let pair = [leads + index / (vowelCount * trailCount), vowels + index % (vowelCount * trailCount) / trailCount]
    return trail == 0 ? pair : pair + [trails + trail]
  }

  static func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if first >= leads, first < leads + 19, second >= vowels, second < vowels + vowelCount {
      return syllables + ((first - leads) * vowelCount + second - vowels) * trailCount
    }
    if isSyllable(first), (first - syllables) % trailCount == 0, second > trails, second < trails + trailCount {
      return first + second - trails
    }
    return nil
  }

  /// Vowels and trails can combine with what is before them.
  static func combinesBackwards(_ scalar: UInt32) -> Bool {
    scalar >= vowels && scalar < vowels + vowelCount || scalar > trails && scalar < trails + trailCount
  }
}
