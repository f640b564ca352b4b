import Foundation

/// The memory of this machine, or of the container that the process runs in.
public enum HostMemory {
  /// Bytes that can be had without taking them from anybody; nil: the system does not say.
  public static var available: Int? {
    guard let machine = numbers("/proc/meminfo")["MemAvailable:"] else { return nil }
    let container = "/sys/fs/cgroup/memory."
    guard let limit = number(container + "max"), let used = number(container + "current") else { return machine << 10 }
    // What is kept of files, and was not asked for lately, goes when memory is wanted.
    return max(0, min(machine << 10, limit - used + (numbers(container + "stat")["inactive_file"] ?? 0)))
  }

  private static func number(_ path: String) -> Int? {
    text(path).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
  }

  /// Of a file with a name and a number in each line.
  private static func numbers(_ path: String) -> [String: Int] {
    let lines = (text(path) ?? "").split(separator: "\n").map { $0.split(separator: " ") }
    return Dictionary(lines.compactMap { line in line.count > 1 ? Int(line[1]).map { (String(line[0]), $0) } : nil }) { $1 }
  }

  private static func text(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }
}
