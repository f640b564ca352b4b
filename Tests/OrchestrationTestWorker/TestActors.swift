import Distributed
import Foundation
import Orchestration

/// What tests call in worker processes.
public distributed actor Echo {
  private var count = 0

  public init(actorSystem: ControlPlane) { self.actorSystem = actorSystem }

  public distributed func pid() -> Int32 { getpid() }

  public distributed func count(_ step: Int) -> Int {
    count += step
    return count
  }

  public distributed func nothing() {}

  public distributed func floats(_ values: [Float]) -> [Float] { values }

  public distributed func batch(_ batch: Batch) -> Batch { batch }

  public distributed func environment(_ name: String) -> String? { ProcessInfo.processInfo.environment[name] }

  public distributed func openDescriptors() -> Int {
    ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []).count
  }

  public distributed func fail(asUser: Bool) throws {
    if asUser { throw UserMistake(description: "--lr -1 is negative; write a number above 0") }
    throw CocoaError(.fileNoSuchFile)
  }

  public distributed func sleep(_ seconds: Double) async throws {
    try await Task.sleep(for: .seconds(seconds))
    count = -1
  }

  public distributed func say(_ lines: [String], thenExit code: Int32?) {
    for line in lines { print(line, terminator: line == lines.last ? "" : "\n") }
    FileHandle.standardError.write(Data("to stderr\n".utf8))
    if let code {
      fflush(nil)
      _exit(code)
    }
  }

  /// Starts a process that outlives this one unless somebody ends it.
  public distributed func grandchild() throws -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sleep")
    process.arguments = ["60"]
    try process.run()
    return process.processIdentifier
  }

  /// Calls back to where `listener` lives.
  public distributed func relay(_ text: String, to listener: Listener) async throws -> String {
    "relayed: " + (try await listener.hear(text))
  }
}

/// Lives in the driver; workers call it.
public distributed actor Listener {
  private(set) var heard: [String] = []

  public init(actorSystem: ControlPlane) { self.actorSystem = actorSystem }

  public distributed func hear(_ text: String) throws -> String {
    if text == "bad" { throw UserMistake(description: "heard something bad") }
    heard.append(text)
    return text.uppercased()
  }
}

/// Works on a thread of its own.
public distributed actor Blocking {
  public nonisolated var unownedExecutor: UnownedSerialExecutor { actorSystem.thread.asUnownedSerialExecutor() }

  public init(actorSystem: ControlPlane) { self.actorSystem = actorSystem }

  /// Blocks its thread until the gate is opened; returns the threads that it ran on before and after a suspension.
  public distributed func passGate() async throws -> [Int] {
    let before = currentThread()
    gate.entered.signal()
    guard gate.opened.wait(timeout: .now() + 10) == .success else { throw CocoaError(.featureUnsupported) }
    await Task.yield()
    return [before, currentThread()]
  }

  private func currentThread() -> Int { Int(pthread_self()) }
}

/// Where `Blocking` actors of this process wait.
public let gate = (entered: DispatchSemaphore(value: 0), opened: DispatchSemaphore(value: 0))

public struct Batch: Codable, Sendable, Equatable {
  public var tokens: [[Int]]
  public var rewards: [Double]
  public var labels: [String: String?]

  public init(tokens: [[Int]], rewards: [Double], labels: [String: String?]) {
    (self.tokens, self.rewards, self.labels) = (tokens, rewards, labels)
  }
}

public struct UserMistake: ExitCodeError, CustomStringConvertible {
  public var description: String
  public var exitCode: Int32 { 2 }
}
