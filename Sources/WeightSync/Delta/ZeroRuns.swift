import Foundation

/// Bytes of which many are zero, made short: runs of zeros are counted, everything else stands as it is.
///
/// Numbers of which only the low bits differ become such bytes when first bytes of all elements come first, then their
/// second bytes, and so on.
package enum ZeroRuns {
  /// Shorter runs stand among the literal bytes: a count of them would not be shorter.
  private static let shortestRun = 3

  /// - Parameter elementSize: how many bytes an element has; divides the count of bytes.
  package static func compress(_ bytes: [UInt8], elementSize: Int) -> [UInt8] {
    let planes = transposed(bytes, rows: bytes.count / max(elementSize, 1), columns: elementSize)
    var result: [UInt8] = []
    var position = 0
    while position < planes.count {
      let zeros = run(of: planes, from: position)
      let start = position + zeros
      var end = start
      while end < planes.count {
        let next = run(of: planes, from: end)
        if next >= shortestRun || (next > 0 && end + next == planes.count) { break }
        end += max(next, 1)
      }
      append(zeros, to: &result)
      append(end - start, to: &result)
      result += planes[start..<end]
      position = end
    }
    return result
  }

  /// - Throws: where the bytes are not what `compress` makes of `count` bytes.
  static func expand(_ bytes: UnsafeRawBufferPointer, count: Int, elementSize: Int) throws(WeightSyncError) -> [UInt8] {
    let damage = WeightSyncError("a compressed delta is damaged")
    var planes: [UInt8] = []
    planes.reserveCapacity(count)
    var position = 0
    while position < bytes.count {
      let zeros = try number(bytes, &position), literals = try number(bytes, &position)
      guard zeros <= count - planes.count, literals <= count - planes.count - zeros, literals <= bytes.count - position else {
        throw damage
      }
      planes.append(contentsOf: repeatElement(0, count: zeros))
      planes.append(contentsOf: bytes[position..<position + literals])
      position += literals
    }
    guard planes.count == count else { throw damage }
    return transposed(planes, rows: elementSize, columns: count / max(elementSize, 1))
  }

  private static func run(of bytes: [UInt8], from start: Int) -> Int {
    var end = start
    while end < bytes.count, bytes[end] == 0 { end += 1 }
    return end - start
  }

  private static func transposed(_ bytes: [UInt8], rows: Int, columns: Int) -> [UInt8] {
    guard rows > 1, columns > 1 else { return bytes }
    return [UInt8](unsafeUninitializedCapacity: bytes.count) { result, count in
      bytes.withUnsafeBufferPointer { bytes in
        for row in 0..<rows {
          for column in 0..<columns { result[column * rows + row] = bytes[row * columns + column] }
        }
      }
      count = bytes.count
    }
  }

  /// Seven bits a byte, the low ones first.
  private static func append(_ number: Int, to bytes: inout [UInt8]) {
    var rest = number
    while rest >= 128 {
      bytes.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private static func number(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) throws(WeightSyncError) -> Int {
    var (number, shift) = (0, 0)
    while position < bytes.count, shift < 56 {
      let byte = bytes[position]
      position += 1
      number |= Int(byte & 127) << shift
      if byte < 128 { return number }
      shift += 7
    }
    throw WeightSyncError("a compressed delta is damaged")
  }
}
