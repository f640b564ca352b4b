import Foundation

/// Whether a long text repeats itself: its last 10 000 characters compress more than tenfold. slime's measure, with the size
/// of a DEFLATE stream estimated rather than written.
package func hasRepetition(_ text: String) -> Bool {
  guard text.utf8.count > 10_000, text.unicodeScalars.count > 10_000 else { return false }
  var tail = String.UnicodeScalarView()
  tail.append(contentsOf: text.unicodeScalars.suffix(10_000))
  let bytes = Array(String(tail).utf8)
  return Double(bytes.count) > 10 * estimatedDeflateSize(bytes)
}

/// About how many bytes zlib makes of these: the longest matches found through the last positions of each three bytes, and
/// their symbols at the length that their frequency deserves.
package func estimatedDeflateSize(_ bytes: [UInt8]) -> Double {
  let (longestMatch, window, triesPerPosition) = (258, 32_768, 64)
  var lastPosition: [Int: Int] = [:]
  var previous = Array(repeating: -1, count: bytes.count)
  var symbols: [Int: Int] = [:]
  var distances: [Int: Int] = [:]
  var extraBits = 0

  func key(_ at: Int) -> Int { Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2]) }
  func remember(_ at: Int) {
    guard at + 2 < bytes.count else { return }
    previous[at] = lastPosition[key(at)] ?? -1
    lastPosition[key(at)] = at
  }
  func longest(at position: Int) -> (length: Int, distance: Int) {
    guard position + 2 < bytes.count else { return (0, 0) }
    var best = (length: 0, distance: 0)
    var candidate = lastPosition[key(position)] ?? -1
    for _ in 0..<triesPerPosition {
      guard candidate >= 0, position - candidate <= window, best.length < longestMatch else { break }
      var length = 0
      while length < longestMatch, position + length < bytes.count, bytes[candidate + length] == bytes[position + length] {
        length += 1
      }
      if length > best.length { best = (length, position - candidate) }
      candidate = previous[candidate]
    }
    return best
  }

  var position = 0
  while position < bytes.count {
    let match = longest(at: position)
    let length = match.length >= 3 ? match.length : 1
    if length == 1 {
      symbols[Int(bytes[position]), default: 0] += 1
    } else {
      // DEFLATE codes lengths and distances in classes that grow like powers of two, with the rest in extra bits.
      let lengthBits = max(0, bitLength(match.length - 3) - 3)
      let distanceBits = max(0, bitLength(match.distance - 1) - 2)
      symbols[256 + lengthBits * 1024 + (match.length - 3) >> lengthBits, default: 0] += 1
      distances[distanceBits * 1024 + (match.distance - 1) >> distanceBits, default: 0] += 1
      extraBits += lengthBits + distanceBits
    }
    for skipped in position..<position + length { remember(skipped) }
    position += length
  }
  let header = 50 + 3 * Double(symbols.count + distances.count)
  return (header + Double(extraBits) + entropyBits(symbols.values) + entropyBits(distances.values)) / 8
}

private func bitLength(_ value: Int) -> Int { Int.bitWidth - value.leadingZeroBitCount }

/// Bits to tell these symbols apart, each at least one.
private func entropyBits(_ counts: some Sequence<Int>) -> Double {
  let total = Double(counts.reduce(0, +))
  return counts.reduce(0) { $0 + Double($1) * max(1, -log2(Double($1) / total)) }
}
