import Distributed
import Foundation
import Observability
import Synchronization

/// Starts worker processes, watches them, and ends them.
///
/// When an essential worker dies the others are ended too, and every call that waits for any of them fails with a sentence
/// that says who died first and how. Workers notice the end of this process, however it ends, and end themselves.
public final class Supervisor: Sendable {
  public typealias Output = @Sendable (ProcessName, Console.Stream, String) -> Void

  public let controlPlane: ControlPlane
  private let command: WorkerCommand
  private let output: Output
  private let onDeath: @Sendable (WorkerDeath) -> Void
  private let state = Mutex(State())
  private let timer = DeadlineTimer()
  private let heartbeat: Task<Void, Never>?

  private struct State {
    var workers: [ProcessName: Worker] = [:]
    /// The first death of an essential worker.
    var death: WorkerDeath?
    var isShuttingDown = false
  }

  /// - Parameters:
  ///   - heartbeatDeadline: a worker that does not answer for so long counts as dead; nil asks none.
  ///   - output: receives what workers print; by default it goes to the console behind `[role rank]`.
  ///   - onDeath: told of every worker that ends without having been asked to, on a thread of its own.
  public init(
    controlPlane: ControlPlane, command: WorkerCommand = WorkerCommand(), heartbeatDeadline: Duration? = nil,
    output: @escaping Output = { Console.standard.print("[\($0.role) \($0.rank)] \($2)", to: $1) },
    onDeath: @escaping @Sendable (WorkerDeath) -> Void = { _ in }
  ) {
    (self.controlPlane, self.command, self.output, self.onDeath) = (controlPlane, command, output, onDeath)
    let living = Living()
    heartbeat = heartbeatDeadline.map { deadline in
      Task {
        while (try? await Task.sleep(for: deadline / Self.beats)) != nil {
          for worker in living.supervisor?.workers ?? [] { worker.beat(limit: Self.beats, deadline: deadline) }
        }
      }
    }
    living.supervisor = self
  }

  deinit { heartbeat?.cancel() }

  /// Beats in one heartbeat deadline. Counting beats, not seconds, keeps a driver that was itself stopped from killing workers.
  private static let beats = 4

  private final class Living: @unchecked Sendable { weak var supervisor: Supervisor? }

  /// The first death of an essential worker that nobody asked for.
  private var death: WorkerDeath? { state.withLock(\.death) }

  /// What to tell of when `error` came from a worker: the death of the worker that died first, if one did. Those that are
  /// left may complain of lost connections before the system has told that a process is gone, so that is waited for.
  public func cause(of error: any Error) async -> any Error {
    guard let remote = error as? RemoteError, remote.exitCode != 2 else { return death ?? error }
    let deadline = ContinuousClock.now + .seconds(1)
    while death == nil, ContinuousClock.now < deadline, (try? await Task.sleep(for: .milliseconds(10))) != nil {}
    return death ?? error
  }

  private var workers: [Worker] { state.withLock { Array($0.workers.values) } }

  // MARK: - Start

  /// Starts workers and returns when all have announced their actors.
  /// - Throws: `WorkerDeath` of one that ended instead, or `WorkersNotReady`; the workers of this call are gone then.
  public func start(_ specifications: [WorkerSpecification], deadline: Duration = .seconds(120)) async throws {
    var started: [Worker] = []
    do {
      for specification in specifications { started.append(try spawn(specification)) }
      let alarm = timer.schedule(after: deadline) { [started] in
        for worker in started { worker.readiness.set(.late) }
      }
      defer { timer.withdraw(alarm) }
      var late: [String] = []
      for worker in started {
        switch await worker.readiness.wait() {
        case .ready: break
        case .died: throw await firstDeath(of: started)
        case .late: late.append(worker.title)
        }
      }
      if !late.isEmpty { throw WorkersNotReady(workers: late, deadline: deadline) }
    } catch {
      for worker in started { worker.end("was ended because \(error)") }
      for worker in started { _ = await worker.gone.wait() }
      throw error
    }
  }

  private func spawn(_ specification: WorkerSpecification) throws -> Worker {
    let name = specification.name
    return try state.withLock { state in
      if let death = state.death { throw death }
      if let other = state.workers[name], other.gone.value == nil {
        throw UnreachableActor(description: "\(other.title) runs already; a second worker of that name cannot be started")
      }
      let worker = try Worker(
        specification, command: command, controlPlane: controlPlane, output: output,
        onDeath: { [weak self] in self?.died($0, $1) })
      state.workers[name] = worker
      return worker
    }
  }

  /// The death that came first: of workers that die together, the others die of it.
  private func firstDeath(of workers: [Worker]) async -> WorkerDeath {
    if let death { return death }
    for worker in workers {
      if case .died(let death) = worker.readiness.value { return death }
    }
    return await workers[0].gone.wait()
  }

  // MARK: - Actors

  /// The actor that a worker announced under `name`, by default the type's own.
  public func resolve<A: DistributedActor>(_ type: A.Type, named name: String? = nil, on worker: ProcessName) throws -> A
  where A.ID == ActorAddress, A.ActorSystem == ControlPlane {
    let name = name ?? "\(type)"
    guard let found = state.withLock({ $0.workers[worker] }) else {
      throw UnreachableActor(description: "there is no worker \(worker)")
    }
    if let death = found.death { throw death }
    switch found.readiness.value {
    case .ready(let names):
      guard names.contains(name) else {
        throw UnreachableActor(
          description: "\(found.title) announced no actor \(name); it announced \(names.joined(separator: ", "))")
      }
      return try A.resolve(id: ActorAddress(process: worker, name: name), using: controlPlane)
    case .died(let death): throw death
    case .late, nil: throw UnreachableActor(description: "\(found.title) is not ready")
    }
  }

  /// One actor of each worker of a role, in the order of ranks.
  public func resolveAll<A: DistributedActor>(_ type: A.Type, named name: String? = nil, role: String) throws -> [A]
  where A.ID == ActorAddress, A.ActorSystem == ControlPlane {
    let names = state.withLock { $0.workers.keys.filter { $0.role == role } }
    return try names.sorted { $0.rank < $1.rank }.map { try resolve(type, named: name, on: $0) }
  }

  // MARK: - End

  private func died(_ worker: Worker, _ death: WorkerDeath) {
    let (expected, others) = state.withLock { state in
      if state.isShuttingDown || (worker.specification.isEssential && state.death != nil) { return (true, [Worker]()) }
      guard worker.specification.isEssential else { return (false, []) }
      state.death = death
      return (false, state.workers.values.filter { $0 !== worker })
    }
    for other in others { other.end("was ended because \(death)") }
    if !expected { onDeath(death) }
  }

  /// Ends all workers in order: asks them, waits up to `deadline`, kills the rest. Returns how each ended, in the order of
  /// roles and ranks, once everything they printed has been passed on.
  @discardableResult
  public func shutDown(deadline: Duration = .seconds(10)) async -> [WorkerDeath] {
    await shutDown(deadline: deadline, callsStayWaiting: false)
  }

  private func shutDown(deadline: Duration, callsStayWaiting: Bool) async -> [WorkerDeath] {
    state.withLock { $0.isShuttingDown = true }
    heartbeat?.cancel()
    let workers = workers.sorted { ($0.name.role, $0.name.rank) < ($1.name.role, $1.name.rank) }
    for worker in workers { worker.shutDown(callsStayWaiting: callsStayWaiting) }
    let alarm = timer.schedule(after: deadline) {
      for worker in workers { worker.end("did not shut down within \(deadline.text) and was ended") }
    }
    defer { timer.withdraw(alarm) }
    var deaths: [WorkerDeath] = []
    for worker in workers { deaths.append(await worker.gone.wait()) }
    return deaths
  }

  /// Kills all workers at once.
  public func kill(_ reason: String) {
    state.withLock { $0.isShuttingDown = true }
    for worker in workers { worker.end(reason) }
  }

  /// From now on SIGINT, SIGTERM and SIGHUP end the workers in order and then this process, with exit code 128 + signal;
  /// a second one kills the workers. Calls that wait for them stay waiting until then.
  public func endOnTerminationSignals(deadline: Duration = .seconds(10)) {
    let isSecond = Atomic(false)
    TerminationSignals.handle { [self] signal in
      let name = signalNames[signal] ?? "signal \(signal)"
      if isSecond.exchange(true, ordering: .relaxed) { return kill("was ended by \(name)") }
      Console.standard.print("\(name): ending the workers (once more to kill them)", to: .errors)
      Task {
        _ = await shutDown(deadline: deadline, callsStayWaiting: true)
        fflush(nil)
        // Not `exit`: other threads are still at work, and static destructors would pull libraries from under them.
        _exit(128 + signal)
      }
    }
  }
}

/// Workers that did not announce their actors in time.
public struct WorkersNotReady: Error, CustomStringConvertible, Sendable {
  public var workers: [String]
  public var deadline: Duration

  public var description: String { "not ready within \(deadline.text): \(workers.joined(separator: ", "))" }
}
