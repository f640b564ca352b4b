import Synchronization

/// Reaches the actors of another control plane of this operating system process: ranks as threads, and tests.
///
/// Arguments and results are encoded and decoded as on the way to another process.
public final class InProcessTransport: ActorTransport {
  private let other: ControlPlane
  private let running = Mutex<[UInt64: Task<Void, Never>]>([:])

  public init(to other: ControlPlane) { self.other = other }

  /// Connects two control planes in both directions.
  public static func connect(_ a: ControlPlane, _ b: ControlPlane) {
    a.connect(b.process, through: InProcessTransport(to: b))
    b.connect(a.process, through: InProcessTransport(to: a))
  }

  public var peer: String { other.process.description }

  public func start(_ call: ActorCall, completion: @escaping @Sendable (Result<ActorReply, any Error>) -> Void) {
    running.withLock { running in
      running[call.id] = Task {
        let reply = await other.execute(call)
        _ = self.running.withLock { $0.removeValue(forKey: call.id) }
        completion(.success(reply))
      }
    }
  }

  public func cancel(_ id: UInt64) { running.withLock { $0[id] }?.cancel() }
}
