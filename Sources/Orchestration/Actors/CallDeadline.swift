/// How long a call may take.
enum CallDeadline: Sendable {
  /// What the control plane was made with.
  case standard
  case after(Duration)
  /// The call ends when it is answered or when the worker dies.
  case none

  @TaskLocal static var current = CallDeadline.standard
}

/// Calls of distributed methods within `body` fail with `DeadlineExceeded` after `deadline`; nil lets them take as long as
/// the worker lives (a long training step).
public func withDeadline<R>(
  _ deadline: Duration?, isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> R
) async rethrows -> R {
  try await CallDeadline.$current.withValue(deadline.map { .after($0) } ?? .none, operation: body, isolation: isolation)
}
