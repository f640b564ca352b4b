import Synchronization

/// What one thread needs while it encodes.
struct EncoderState {
  var cache = WordCache()
  var merger = WordMerger()
  let stack = MatchStack()
}

/// Encoder states that are not in use: each call of `encode` takes one, so that threads share no cache and wait for none.
final class EncoderStates: Sendable {
  private final class Box { var state = EncoderState() }

  private let free = Mutex<[UnsafeBox]>([])

  /// A box belongs to whoever took it out of the list.
  private struct UnsafeBox: @unchecked Sendable { let box = Box() }

  func withState<R>(_ body: (inout EncoderState) throws -> R) rethrows -> R {
    let taken = free.withLock { $0.popLast() } ?? UnsafeBox()
    defer { free.withLock { $0.append(taken) } }
    return try body(&taken.box.state)
  }
}
