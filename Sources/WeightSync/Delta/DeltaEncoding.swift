import Foundation

/// How a delta says what changed in a tensor (slime's `--update-weight-delta-encoding`).
public enum DeltaEncoding: String, Sendable, Codable, CaseIterable {
  /// New bytes xor old bytes, compressed. To be applied exactly once.
  case xor
  /// How many elements changed, where they are, and their new bytes. Applied again, it changes nothing.
  case overwrite

  /// - Returns: what turns the old bytes into the new ones.
  package func encode(_ old: UnsafeRawBufferPointer, _ new: UnsafeRawBufferPointer, elementSize: Int) -> [UInt8] {
    switch self {
    case .xor:
      return ZeroRuns.compress(zip(old, new).map { $0 ^ $1 }, elementSize: elementSize)
    case .overwrite:
      var positions: [UInt32] = []
      var values: [UInt8] = []
      for start in stride(from: 0, to: new.count, by: elementSize) {
        let range = start..<start + elementSize
        guard !old[range].elementsEqual(new[range]) else { continue }
        positions.append(UInt32(start / elementSize).littleEndian)
        values += new[range]
      }
      return [UInt8](fixed: UInt32(positions.count)) + positions.withUnsafeBytes { Array($0) } + values
    }
  }

  /// - Returns: the new bytes.
  package func apply(
    _ delta: UnsafeRawBufferPointer, to old: UnsafeRawBufferPointer, elementSize: Int
  ) throws(WeightSyncError) -> [UInt8] {
    switch self {
    case .xor:
      var bytes = try ZeroRuns.expand(delta, count: old.count, elementSize: elementSize)
      for index in bytes.indices { bytes[index] ^= old[index] }
      return bytes
    case .overwrite:
      func number(_ index: Int) -> Int {
        Int(UInt32(littleEndian: delta.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)))
      }
      guard delta.count >= 4, delta.count == 4 + number(0) * (4 + elementSize) else {
        throw WeightSyncError("a delta of changed elements is damaged")
      }
      var bytes = Array(old)
      for index in 0..<number(0) {
        let (start, value) = (number(1 + index) * elementSize, 4 * (1 + number(0)) + index * elementSize)
        guard start + elementSize <= bytes.count else { throw WeightSyncError("a delta changes an element that there is not") }
        for byte in 0..<elementSize { bytes[start + byte] = delta[value + byte] }
      }
      return bytes
    }
  }
}

extension [UInt8] {
  fileprivate init(fixed number: UInt32) { self = Swift.withUnsafeBytes(of: number.littleEndian) { Array($0) } }
}
