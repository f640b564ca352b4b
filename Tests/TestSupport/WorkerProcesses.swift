import Foundation
import Synchronization

/// The process of a worker that this process started.
public func workerPID(_ role: String, _ rank: Int) -> Int32? {
  for entry in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
    guard let pid = Int32(entry), let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      let end = stat.lastIndex(of: ")"), stat[end...].dropFirst(2).split(separator: " ").dropFirst().first == "\(getpid())",
      let line = try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(pid)/cmdline"))
    else { continue }
    let words = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    if words.suffix(4) == ["--role", role, "--rank", "\(rank)"] { return pid }
  }
  return nil
}

/// Counts calls.
public final class Counter: Sendable {
  private let value = Mutex(0)
  public init() {}

  /// How many there were before.
  public func next() -> Int {
    value.withLock { value in
      value += 1
      return value - 1
    }
  }
}
