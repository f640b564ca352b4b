import Foundation
import Observability
import Synchronization

/// A worker process as the driver sees it, from its start to its end.
///
/// Five threads belong to it: two for the connection, two for what it prints, one that waits for its end.
final class Worker: Sendable {
  enum Readiness: Sendable {
    /// With the names of its actors.
    case ready([String])
    case died(WorkerDeath)
    case late
  }

  let specification: WorkerSpecification
  let readiness = Latch<Readiness>()
  /// Set when the process has ended and everything it printed has been passed on.
  let gone = Latch<WorkerDeath>()

  private let process: SpawnedProcess
  private let connection: FrameConnection
  private let transport: SocketTransport
  private let state = Mutex(State())
  /// Signalled when the stream of frames, and when that of either output, has ended.
  private let connectionEnd = DispatchSemaphore(value: 0)
  private let outputEnds = DispatchSemaphore(value: 0)

  private struct State {
    var hasExited = false
    var isShuttingDown = false
    var callsStayWaiting = false
    var death: WorkerDeath?
    var reason: String?
    var exitCode: Int32 = 1
    var missedBeats = 0
  }

  /// How long to wait for what a dead process left in its pipes, and for the death of one that closed its connection.
  private static let grace = DispatchTimeInterval.seconds(1)

  init(
    _ specification: WorkerSpecification, command: WorkerCommand, controlPlane: ControlPlane,
    output: @escaping @Sendable (ProcessName, Console.Stream, String) -> Void,
    onDeath: @escaping @Sendable (Worker, WorkerDeath) -> Void
  ) throws {
    self.specification = specification
    let name = specification.name
    process = try SpawnedProcess(
      executable: command.executable,
      arguments: command.arguments + ["--role", name.role, "--rank", "\(name.rank)"],
      environment: ProcessInfo.processInfo.environment.merging(specification.environment) { $1 })
    connection = FrameConnection(process.connection, name: "\(name.role)\(name.rank)")
    transport = SocketTransport(connection, peer: "\(name) (pid \(process.pid))", controlPlane: controlPlane)
    controlPlane.connect(name, through: transport)
    connection.start(onFrame: { self.receive($0) }, onEnd: { self.connectionEnded($0) })
    for (source, stream) in [(process.output, Console.Stream.output), (process.errors, .errors)] {
      LinePump.start(
        source, name: "\(name.role)\(name.rank) \(stream)", onLine: { output(name, stream, $0) },
        onEnd: { self.outputEnds.signal() })
    }
    startThread("\(name.role)\(name.rank) wait") { self.awaitEnd(onDeath) }
  }

  var name: ProcessName { specification.name }
  /// `trainer rank 1 (pid 4711)`.
  var title: String { transport.peer }

  // MARK: - What the worker says

  private func receive(_ frame: Frame) {
    if transport.receive(frame) { return }
    switch frame.kind {
    case .ready: readiness.set(.ready((try? BinaryDecoder().decode(from: frame.head)) ?? []))
    case .unable:
      let failure = SocketTransport.failure(of: frame)
      state.withLock { state in
        state.reason = state.reason ?? "could not start: \(failure.message)"
        state.exitCode = failure.exitCode
      }
    case .pong: state.withLock { $0.missedBeats = 0 }
    default: end("sent a frame that only a driver sends")
    }
  }

  private func connectionEnded(_ problem: FrameError?) {
    if let problem { end("sent what cannot be read (\(problem)) and was ended") }
    connectionEnd.signal()
    // A process that has died is reaped at once; one that has not and closed its connection is of no use.
    Thread.sleep(forTimeInterval: 1)
    if !state.withLock(\.isShuttingDown) { end("closed its connection and was ended") }
  }

  // MARK: - Its end

  private func awaitEnd(_ onDeath: @Sendable (Worker, WorkerDeath) -> Void) {
    let status = process.wait()
    state.withLock { $0.hasExited = true }
    // Answers that it gave before it died are still read.
    _ = connectionEnd.wait(timeout: .now() + Self.grace)
    connection.close()
    let (death, callsStayWaiting) = state.withLock { state in
      if state.isShuttingDown && status == .code(0) { state.reason = state.reason ?? "was shut down" }
      let death = WorkerDeath(
        worker: name, pid: process.pid, status: status, reason: state.reason, exitCode: state.exitCode)
      state.death = death
      return (death, state.callsStayWaiting)
    }
    if !callsStayWaiting { transport.end(death) }
    readiness.set(.died(death))
    onDeath(self, death)
    for _ in 0..<2 { _ = outputEnds.wait(timeout: .now() + Self.grace) }
    gone.set(death)
  }

  /// Nil while it lives.
  var death: WorkerDeath? { state.withLock(\.death) }

  /// Kills the worker, and then all that it started; `reason` tells why, unless something told before.
  func end(_ reason: String) {
    state.withLock { state in
      guard !state.hasExited else { return }
      state.reason = state.reason ?? reason
      kill(process.pid, SIGKILL)
    }
  }

  /// Asks the worker to end in order.
  /// - Parameter callsStayWaiting: whether calls that wait for it are left to wait, since the driver is about to end too and
  ///   should not report them.
  func shutDown(callsStayWaiting: Bool) {
    state.withLock { ($0.isShuttingDown, $0.callsStayWaiting) = (true, callsStayWaiting) }
    try? connection.send(Frame(kind: .shutdown))
  }

  /// Counts a beat; kills the worker when it has not answered the last `limit` of them.
  func beat(limit: Int, deadline: Duration) {
    guard case .ready = readiness.value else { return }
    let missed = state.withLock { state in
      state.missedBeats += 1
      return state.missedBeats - 1
    }
    if missed >= limit { return end("did not answer for \(deadline.text) and was ended") }
    try? connection.send(Frame(kind: .ping))
  }
}
