import Foundation

/// How worker processes are started.
public struct WorkerCommand: Sendable {
  public var executable: String
  public var arguments: [String]

  /// - Parameter executable: by default the one that is running.
  /// - Parameter arguments: what makes it a worker; `--role ROLE --rank RANK` follow them.
  public init(executable: String = WorkerCommand.currentExecutable, arguments: [String] = ["worker"]) {
    (self.executable, self.arguments) = (executable, arguments)
  }

  public static var currentExecutable: String {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
  }
}

/// One worker process to be started.
public struct WorkerSpecification: Sendable {
  public var name: ProcessName
  /// Added to the driver's own environment.
  public var environment: [String: String]
  /// When an essential worker dies, the supervisor ends the others.
  public var isEssential: Bool

  public init(_ name: ProcessName, environment: [String: String] = [:], isEssential: Bool = true) {
    (self.name, self.environment, self.isEssential) = (name, environment, isEssential)
  }
}

/// The end of a worker, in one sentence.
public struct WorkerDeath: ExitCodeError, CustomStringConvertible, Sendable {
  public var worker: ProcessName
  public var pid: Int32
  public var status: ExitStatus
  /// Why the supervisor ended it, or what it said before it ended; nil if the exit status is all that is known.
  public var reason: String?
  /// 2 when it could not start because of a mistake of the user.
  public var exitCode: Int32 = 1

  /// `trainer rank 1 (pid 4711) was killed by signal 9 (SIGKILL)`.
  public var description: String { "\(worker) (pid \(pid)) \(reason ?? "\(status)")" }
}
