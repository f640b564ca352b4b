/// A pickle's bytes. Protocol 4 puts them into frames of a little more than 64 KiB, each with its length in front.
struct PickleOutput {
  private static let frameTarget = 64 << 10
  private static let headerCount = 9

  private var bytes: [UInt8] = []
  private var frameStart: Int?
  private let isFramed: Bool

  init(isFramed: Bool) { self.isFramed = isFramed }

  mutating func appendUnframed(_ more: [UInt8]) { bytes += more }

  mutating func append(_ opcode: PickleOpcode) { append([opcode.rawValue]) }

  mutating func append<Number: FixedWidthInteger>(_ number: Number) {
    beginFrame()
    withUnsafeBytes(of: number) { bytes += $0 }
  }

  mutating func append(_ more: [UInt8]) {
    beginFrame()
    bytes += more
  }

  /// Text or bytes; large ones stand between frames.
  mutating func append(header: [UInt8], _ payload: [UInt8]) {
    guard isFramed, payload.count >= Self.frameTarget else { return append(header + payload) }
    endFrame()
    bytes += header
    bytes += payload
  }

  /// Called before each value.
  mutating func endFrameIfFull() {
    if let frameStart, bytes.count - frameStart - Self.headerCount >= Self.frameTarget { endFrame() }
  }

  mutating func finish() -> [UInt8] {
    endFrame()
    return bytes
  }

  private mutating func beginFrame() {
    guard isFramed, frameStart == nil else { return }
    frameStart = bytes.count
    bytes += [UInt8](repeating: 0, count: Self.headerCount)
  }

  private mutating func endFrame() {
    guard let start = frameStart else { return }
    frameStart = nil
    let count = bytes.count - start - Self.headerCount
    if count < 4 {
      bytes.removeSubrange(start..<start + Self.headerCount)
    } else {
      bytes[start] = PickleOpcode.frame.rawValue
      withUnsafeBytes(of: UInt64(count).littleEndian) { length in
        for i in 0..<8 { bytes[start + 1 + i] = length[i] }
      }
    }
  }
}
