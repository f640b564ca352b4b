import Foundation

/// A process that leads a session, and all that descend from it, in whatever process groups, except those that left the
/// session on purpose (daemons).
struct ProcessSession {
  private let leader: pid_t

  init(_ leader: pid_t) { self.leader = leader }

  /// Kills all members except the calling process.
  func kill() {
    // What a member started while we looked is found by looking again.
    for _ in 0..<10 {
      let others = members.filter { $0 != getpid() }
      if others.isEmpty { return }
      for pid in others { Foundation.kill(pid, SIGKILL) }
    }
  }

  /// The members that run.
  private var members: [pid_t] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { pid_t($0) }.filter { pid in
      guard let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat"),
        let nameEnd = stat.lastIndex(of: UInt8(ascii: ")"))
      else { return false }
      // After the name in parentheses: state, parent, process group, session.
      let fields = String(decoding: stat[(nameEnd + 1)...], as: UTF8.self).split(separator: " ", maxSplits: 4)
      return fields.count > 3 && pid_t(fields[3]) == leader && fields[0] != "Z"
    }
  }
}
