import Foundation

/// How a process ended.
public enum ExitStatus: Equatable, Sendable, CustomStringConvertible {
  case code(Int32)
  case signal(Int32)

  init(waitStatus: Int32) {
    let signal = waitStatus & 0x7F
    self = signal == 0 ? .code((waitStatus >> 8) & 0xFF) : .signal(signal)
  }

  /// `exited with code 3`, or `was killed by signal 9 (SIGKILL)`.
  public var description: String {
    switch self {
    case .code(let code): "exited with code \(code)"
    case .signal(let number): "was killed by signal \(number)" + (signalNames[number].map { " (\($0))" } ?? "")
    }
  }
}

let signalNames: [Int32: String] = [
  SIGHUP: "SIGHUP", SIGINT: "SIGINT", SIGQUIT: "SIGQUIT", SIGILL: "SIGILL", SIGTRAP: "SIGTRAP", SIGABRT: "SIGABRT",
  SIGBUS: "SIGBUS", SIGFPE: "SIGFPE", SIGKILL: "SIGKILL", SIGSEGV: "SIGSEGV", SIGPIPE: "SIGPIPE", SIGTERM: "SIGTERM",
]

/// A child process in a session of its own, so that it can be ended together with what it started, and so that a Ctrl-C at
/// the terminal reaches only the driver, which then ends its workers in order.
final class SpawnedProcess: Sendable {
  /// Descriptors of the child: its connection to the parent, and the parent's stderr for its last words.
  static let connectionDescriptor: Int32 = 3
  static let lastWordsDescriptor: Int32 = 4

  let pid: pid_t
  let connection: FileDescriptor
  let output: FileDescriptor
  let errors: FileDescriptor

  /// - Parameter environment: the whole environment of the child.
  init(executable: String, arguments: [String], environment: [String: String]) throws {
    let (here, there) = try FileDescriptor.socketPair()
    let (output, outputEnd) = try FileDescriptor.pipe()
    let (errors, errorsEnd) = try FileDescriptor.pipe()
    // Numbers above those that the child will use: a `dup2` must not overwrite what a later one still needs.
    let raised = try [there, outputEnd, errorsEnd].map { try $0.duplicate(atLeast: 10) }

    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, 2, Self.lastWordsDescriptor)
    posix_spawn_file_actions_adddup2(&actions, raised[0].number, Self.connectionDescriptor)
    posix_spawn_file_actions_adddup2(&actions, raised[1].number, 1)
    posix_spawn_file_actions_adddup2(&actions, raised[2].number, 2)
    // Ours are close-on-exec; those of other libraries may not be.
    for other in FileDescriptor.open where other > Self.lastWordsDescriptor {
      posix_spawn_file_actions_addclose(&actions, other)
    }

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var (noSignals, allSignals) = (sigset_t(), sigset_t())
    sigemptyset(&noSignals)
    sigfillset(&allSignals)
    posix_spawnattr_setsigmask(&attributes, &noSignals)
    posix_spawnattr_setsigdefault(&attributes, &allSignals)
    let newSession: Int32 = 0x80  // POSIX_SPAWN_SETSID, which the headers show only to C with _GNU_SOURCE
    posix_spawnattr_setflags(&attributes, Int16(newSession | Int32(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)))

    var pid = pid_t()
    let status = withExtendedLifetime(raised) {
      withCStrings([executable] + arguments) { arguments in
        withCStrings(environment.map { "\($0)=\($1)" }) { environment in
          posix_spawn(&pid, executable, &actions, &attributes, arguments, environment)
        }
      }
    }
    guard status == 0 else { throw SystemError("starting \(executable)", status) }
    (self.pid, connection, self.output, self.errors) = (pid, here, output, errors)
  }

  /// Waits for the end of the process, ends what it left running, and reaps it. Blocks.
  func wait() -> ExitStatus {
    // Until the process is reaped its number belongs to it, so that the session cannot be somebody else's.
    var info = siginfo_t()
    while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
    ProcessSession(pid).kill()
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    return ExitStatus(waitStatus: status)
  }
}

extension FileDescriptor {
  fileprivate func duplicate(atLeast minimum: Int32) throws -> FileDescriptor {
    let copy = fcntl(number, F_DUPFD_CLOEXEC, minimum)
    guard copy >= 0 else { throw SystemError("fcntl") }
    return FileDescriptor(copy)
  }
}

private func withCStrings<R>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R {
  let copies = strings.map { strdup($0) }
  defer { for copy in copies { free(copy) } }
  return body(copies + [nil])
}
