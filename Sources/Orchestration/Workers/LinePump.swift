import Foundation

/// Passes on what a process writes, line by line, from a thread of its own.
enum LinePump {
  /// A line that grows beyond this is passed on in pieces.
  static let maximumLine = 64 << 10

  /// `onLine` gets each line without its line feed, the last one too when it has none; then comes `onEnd`.
  static func start(
    _ source: FileDescriptor, name: String, onLine: @escaping @Sendable (String) -> Void,
    onEnd: @escaping @Sendable () -> Void
  ) {
    startThread(name) {
      var buffer = [UInt8](repeating: 0, count: 16 << 10)
      var line: [UInt8] = []
      func pass() {
        onLine(String(decoding: line, as: UTF8.self))
        line.removeAll(keepingCapacity: true)
      }
      while true {
        let count = buffer.withUnsafeMutableBytes { source.read(into: $0) }
        if count == 0 { break }
        for byte in buffer[..<count] {
          if byte == UInt8(ascii: "\n") {
            pass()
          } else {
            line.append(byte)
            if line.count == maximumLine { pass() }
          }
        }
      }
      if !line.isEmpty { pass() }
      onEnd()
    }
  }
}
