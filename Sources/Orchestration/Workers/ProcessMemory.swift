import Foundation

/// The memory of this process, as Linux counts it, in bytes.
enum ProcessMemory {
  static var resident: Int { value("VmRSS") }
  /// The most since the start, or since `forgetPeak`.
  static var peak: Int { value("VmHWM") }

  static func forgetPeak() { try? "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8) }

  private static func value(_ key: String) -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    // `VmRSS:      1234 kB`
    let line = status.split(separator: "\n").first { $0.hasPrefix(key + ":") }
    return (line.flatMap { Int($0.filter(\.isNumber)) } ?? 0) << 10
  }
}
