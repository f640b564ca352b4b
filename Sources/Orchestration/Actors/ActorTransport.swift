/// One call of a distributed method, as it travels.
public struct ActorCall: Sendable {
  /// Unique among the calls that its sender made.
  public var id: UInt64
  public var actor: ActorAddress
  /// The mangled name of the method, as the compiler gives it.
  public var method: String
  /// The encoded arguments.
  public var arguments: [UInt8]

  public init(id: UInt64, actor: ActorAddress, method: String, arguments: [UInt8]) {
    (self.id, self.actor, self.method, self.arguments) = (id, actor, method, arguments)
  }
}

/// How a call ended on the side that ran it.
public enum ActorReply: Sendable {
  /// The encoded value; empty for a method without one.
  case value([UInt8])
  case failure(CallFailure)
}

/// Carries calls to the actors of one other process. To add a way to reach processes, conform to this.
public protocol ActorTransport: Sendable {
  /// Who is at the other end, for sentences: `trainer rank 1 (pid 4711)`.
  var peer: String { get }

  /// Starts a call and returns at once. `completion` is called exactly once, from any thread: with the reply, or with the
  /// reason why there will be none (as soon as the peer is known to be gone).
  func start(_ call: ActorCall, completion: @escaping @Sendable (Result<ActorReply, any Error>) -> Void)

  /// Nobody waits for this call any more: the peer may stop working on it.
  func cancel(_ id: UInt64)
}
