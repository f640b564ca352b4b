import Distributed
import Synchronization

/// What `distributed actor`s of this project use unless they say otherwise.
public typealias DefaultDistributedActorSystem = ControlPlane

/// The actor system of one process: knows the actors that live here, and the transports to other processes.
///
/// Calls carry arguments and results as `BinaryEncoder` writes them. A call fails when its deadline passes, when the process
/// at the other end dies, or with the sentence of the error thrown there (`RemoteError`); each names the process and the method.
/// Cancelling the calling task cancels the task that runs the method.
public final class ControlPlane: DistributedActorSystem {
  public typealias ActorID = ActorAddress
  public typealias SerializationRequirement = Codable & Sendable
  public typealias InvocationEncoder = CallEncoder
  public typealias InvocationDecoder = CallDecoder
  public typealias ResultHandler = CallResultHandler

  /// The process that this is, or plays: several control planes may live in one operating system process.
  public let process: ProcessName
  /// For calls outside of `withDeadline(_:)`; nil waits as long as the peer lives.
  public let defaultDeadline: Duration?
  /// A thread of its own, made at its first use, for actors whose blocking work must not run on the cooperative pool.
  public var thread: ThreadExecutor { state.withLock { $0.thread(named: process.description) } }

  private let state = Mutex(State())
  private let nextCall = Atomic<UInt64>(1)
  private let deadlines = DeadlineTimer()

  private struct State {
    var actors: [String: WeakActor] = [:]
    var transports: [ProcessName: any ActorTransport] = [:]
    var thread: ThreadExecutor?

    mutating func thread(named name: String) -> ThreadExecutor {
      if let thread { return thread }
      let made = ThreadExecutor(name: name)
      thread = made
      return made
    }
  }

  private struct WeakActor {
    /// Nil until the actor is initialised.
    weak var actor: (any DistributedActor)?
    /// Set for an actor that lives as long as the control plane.
    var kept: (any DistributedActor)?
  }

  @TaskLocal private static var requestedName: String?

  public init(process: ProcessName = .driver, defaultDeadline: Duration? = .seconds(60)) {
    (self.process, self.defaultDeadline) = (process, defaultDeadline)
  }

  // MARK: - Names

  /// Makes an actor that others find under `name`; without this it is the type's name, and `Type-2` for a second one.
  public func named<A: DistributedActor>(_ name: String, _ make: (ControlPlane) throws -> A) rethrows -> A {
    try Self.$requestedName.withValue(name) { try make(self) }
  }

  public func assignID<A: DistributedActor>(_ type: A.Type) -> ActorAddress where A.ID == ActorAddress {
    state.withLock { state in
      let wanted = Self.requestedName ?? "\(type)"
      var (name, number) = (wanted, 1)
      while state.actors[name] != nil {
        number += 1
        name = "\(wanted)-\(number)"
      }
      state.actors[name] = WeakActor()
      return ActorAddress(process: process, name: name)
    }
  }

  public func actorReady<A: DistributedActor>(_ actor: A) where A.ID == ActorAddress {
    state.withLock { $0.actors[actor.id.name] = WeakActor(actor: actor) }
  }

  /// Keeps actors that only other processes refer to: by itself the control plane does not.
  public func keep(_ actors: [any DistributedActor]) {
    state.withLock { state in
      for actor in actors {
        guard let id = actor.id as? ActorAddress else { continue }
        state.actors[id.name]?.kept = actor
      }
    }
  }

  public func resignID(_ id: ActorAddress) {
    state.withLock { _ = $0.actors.removeValue(forKey: id.name) }
  }

  /// The actor itself if it lives here, nil (the compiler makes a proxy) if it lives elsewhere.
  public func resolve<A: DistributedActor>(id: ActorAddress, as type: A.Type) throws -> A? where A.ID == ActorAddress {
    guard id.process == process else { return nil }
    guard let actor = try local(id) as? A else { throw UnreachableActor(description: "\(id) is not a \(type)") }
    return actor
  }

  private func local(_ id: ActorAddress) throws -> any DistributedActor {
    let (actor, names) = state.withLock { ($0.actors[id.name]?.actor, $0.actors.keys.sorted()) }
    if id.process == process, let actor { return actor }
    let known = names.isEmpty ? "none" : names.joined(separator: ", ")
    throw UnreachableActor(description: "there is no actor \(id.name) on \(process) (it has \(known))")
  }

  // MARK: - Calls to other processes

  /// Sends calls to actors of `process` through `transport`, in place of an earlier one.
  public func connect(_ process: ProcessName, through transport: any ActorTransport) {
    state.withLock { $0.transports[process] = transport }
  }

  public func makeInvocationEncoder() -> CallEncoder { CallEncoder() }

  public func remoteCall<A: DistributedActor, Err: Error, R: Codable & Sendable>(
    on actor: A, target: RemoteCallTarget, invocation: inout CallEncoder, throwing: Err.Type, returning: R.Type
  ) async throws -> R where A.ID == ActorAddress {
    try decoder.decode(R.self, from: try await call(actor.id, target, invocation.arguments))
  }

  public func remoteCallVoid<A: DistributedActor, Err: Error>(
    on actor: A, target: RemoteCallTarget, invocation: inout CallEncoder, throwing: Err.Type
  ) async throws where A.ID == ActorAddress {
    _ = try await call(actor.id, target, invocation.arguments)
  }

  private func call(_ actor: ActorAddress, _ target: RemoteCallTarget, _ arguments: [UInt8]) async throws -> [UInt8] {
    guard let transport = state.withLock({ $0.transports[actor.process] }) else {
      throw UnreachableActor(description: "\(process) has no connection to \(actor.process), where \(actor.name) lives")
    }
    let id = nextCall.wrappingAdd(1, ordering: .relaxed).oldValue
    let call = ActorCall(id: id, actor: actor, method: target.identifier, arguments: arguments)
    switch try await reply(to: call, through: transport, within: deadline) {
    case .value(let bytes): return bytes
    case .failure(let failure):
      throw RemoteError(
        message: failure.message, actor: actor.name, method: target.method, worker: transport.peer,
        exitCode: failure.exitCode)
    }
  }

  private var deadline: Duration? {
    switch CallDeadline.current {
    case .standard: defaultDeadline
    case .after(let duration): duration
    case .none: nil
    }
  }

  private func reply(
    to call: ActorCall, through transport: any ActorTransport, within deadline: Duration?
  ) async throws -> ActorReply {
    let pending = PendingReply()
    return try await withTaskCancellationHandler {
      try await withUnsafeThrowingContinuation { continuation in
        guard pending.wait(continuation) else { return }
        let timer = deadline.map { deadline in
          deadlines.schedule(after: deadline) { [id = call.id, method = call.method] in
            let method = RemoteCallTarget(method).method
            let error = DeadlineExceeded(worker: transport.peer, method: method, deadline: deadline)
            if pending.finish(.failure(error)) { transport.cancel(id) }
          }
        }
        transport.start(call) { result in
          if let timer { self.deadlines.withdraw(timer) }
          pending.finish(result)
        }
      }
    } onCancel: {
      if pending.finish(.failure(CancellationError())) { transport.cancel(call.id) }
    }
  }

  // MARK: - Calls from other processes

  /// Runs an incoming call on an actor that lives here.
  public func execute(_ call: ActorCall) async -> ActorReply {
    do {
      let handler = CallResultHandler()
      var decoder = CallDecoder(call.arguments, self)
      try await executeDistributedTarget(
        on: try local(call.actor), target: RemoteCallTarget(call.method), invocationDecoder: &decoder, handler: handler)
      return handler.reply
    } catch {
      return .failure(CallFailure(error))
    }
  }

  /// Actors among the arguments and results arrive as references to where they live.
  var decoder: BinaryDecoder {
    var decoder = BinaryDecoder()
    decoder.userInfo[.actorSystemKey] = self
    return decoder
  }
}

extension RemoteCallTarget {
  /// `TrainActor.train(rolloutID:)`: what the standard library makes of the mangled name, without the module.
  var method: String {
    let name = description.trimmingPrefix("RemoteCallTarget(")
    let wholeName = name.count < description.count ? name.dropLast() : name
    return String(wholeName.drop { $0 != "." }.dropFirst())
  }
}

/// A reply that is awaited once and decided once, by whoever comes first.
private final class PendingReply: Sendable {
  private enum State {
    case idle
    case waiting(UnsafeContinuation<ActorReply, any Error>)
    case finished((any Error)?)
  }

  private let state = Mutex(State.idle)

  /// False if it was decided (cancelled) before.
  func wait(_ continuation: UnsafeContinuation<ActorReply, any Error>) -> Bool {
    let error: (any Error)? = state.withLock { state in
      if case .finished(let error) = state { return error }
      state = .waiting(continuation)
      return nil
    }
    if let error { continuation.resume(throwing: error) }
    return error == nil
  }

  /// True if this decided it.
  @discardableResult
  func finish(_ result: sending Result<ActorReply, any Error>) -> Bool {
    var error: (any Error)?
    if case .failure(let failure) = result { error = failure }
    let continuation: UnsafeContinuation<ActorReply, any Error>? = state.withLock { state in
      defer { if case .finished = state {} else { state = .finished(error) } }
      if case .waiting(let continuation) = state { return continuation }
      return nil
    }
    continuation?.resume(with: result)
    return continuation != nil
  }
}
