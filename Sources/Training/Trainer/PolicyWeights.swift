import Torch

/// Weights of several policies, by tag, in host memory: one live model takes turns with them (slime's weight tags).
final class PolicyWeights {
  /// The live model's memory.
  private let live: [Tensor]
  private var kept: [Policy: [Tensor]] = [:]

  /// - Parameter live: flat tensors of this rank, which the model uses in place.
  init(_ live: [Tensor]) { self.live = live.map { $0.detached() } }

  /// The live weights become those of `policy` too.
  func keep(as policy: Policy) {
    withoutGradients {
      // Where a GPU copies to it, memory of the host is dear to make and is used again.
      let memory = kept[policy] ?? live.map {
        $0.device.kind == .cuda ? .emptyPinned($0.shape, dtype: $0.dtype) : $0.emptyLike()
      }
      for (copy, own) in zip(memory, live) { copy.copy_(own, nonBlocking: true) }
      kept[policy] = memory
    }
  }

  /// Runs `body` with the weights of `policy` in the live model, and puts the trained ones back.
  /// - Throws: `TrainingError` when none were kept.
  func with<R>(_ policy: Policy, _ body: () throws -> R) throws -> R {
    guard policy != .actor else { return try body() }
    guard let other = kept[policy] else {
      throw TrainingError("no weights were kept for the policy '\(policy.rawValue)'")
    }
    keep(as: .actor)
    restore(other)
    defer {
      restore(kept[.actor]!)
      if live.allSatisfy({ $0.device.kind == .cpu }) { kept[.actor] = nil }
    }
    return try body()
  }

  private func restore(_ tensors: [Tensor]) {
    withoutGradients { for (own, other) in zip(live, tensors) { own.copy_(other, nonBlocking: true) } }
  }
}
