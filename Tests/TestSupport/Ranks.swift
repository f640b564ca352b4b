import Foundation
import Torch

/// What went wrong in a run of several ranks.
public struct RankFailure: Error, CustomStringConvertible {
  /// By rank: the error that the rank threw, or that it never ended.
  public let errors: [Int: any Error]

  public var description: String {
    errors.sorted { $0.key < $1.key }.map { "rank \($0.key): \($0.value)" }.joined(separator: "; ")
  }
}

/// Runs `body` once for each of `count` ranks, each on an OS thread of its own, and returns the results by rank.
///
/// The ranks share `store`, to meet in process groups; torch errors of a rank count as thrown by it. Tensors may be
/// returned: their thread has ended by then. A rank that does not end within `timeout` is reported and left behind.
/// - Throws: `RankFailure` with the errors of all ranks.
public func runRanks<R>(
  _ count: Int, timeout: Duration = .seconds(60), _ body: @escaping @Sendable (_ rank: Int, _ store: Store) throws -> R
) async throws -> [R] {
  let run = RankRun<R>(count: count)
  let store = try Store.inProcess()
  let outcomes: Outcomes<R> = await withCheckedContinuation { continuation in
    run.begin(continuation)
    for rank in 0..<count {
      let thread = Thread {
        // Ranks are the parallelism; threads of their own would wait for one another on few cores.
        Runtime.threadCount = 1
        let outcome = Result { try catchingTorchErrors { try body(rank, store) } }
        run.finish(rank, outcome)
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    DispatchQueue.global().asyncAfter(deadline: .now() + .nanoseconds(Int(timeout / .nanoseconds(1)))) {
      run.giveUp(after: timeout)
    }
  }
  var errors: [Int: any Error] = [:]
  for (rank, outcome) in outcomes.byRank.enumerated() {
    if case .failure(let error) = outcome { errors[rank] = error }
  }
  guard errors.isEmpty else { throw RankFailure(errors: errors) }
  return try outcomes.byRank.map { try $0.get() }
}

/// `runRanks` with a Gloo group of all ranks, which is what `body` gets.
public func runGroup<R>(
  _ count: Int, timeout: Duration = .seconds(30), _ body: @escaping @Sendable (_ group: ProcessGroup) throws -> R
) async throws -> [R] {
  try await runRanks(count, timeout: timeout * 2) { rank, store in
    try body(.gloo("test", store: store, rank: rank, size: count, timeout: timeout))
  }
}

/// The results of ranks whose threads have ended, so that what they made may move on.
private struct Outcomes<R>: @unchecked Sendable {
  let byRank: [Result<R, any Error>]
}

private final class RankRun<R>: @unchecked Sendable {
  private let lock = NSLock()
  private var outcomes: [Result<R, any Error>?]
  private var continuation: CheckedContinuation<Outcomes<R>, Never>?

  init(count: Int) { outcomes = Array(repeating: nil, count: count) }

  func begin(_ continuation: CheckedContinuation<Outcomes<R>, Never>) {
    lock.withLock { self.continuation = continuation }
  }

  func finish(_ rank: Int, _ outcome: Result<R, any Error>) {
    lock.withLock {
      outcomes[rank] = outcome
      if !outcomes.contains(where: { $0 == nil }) { resume() }
    }
  }

  func giveUp(after timeout: Duration) {
    lock.withLock {
      guard continuation != nil else { return }
      for rank in outcomes.indices where outcomes[rank] == nil {
        outcomes[rank] = .failure(TorchError("not ended within \(timeout)"))
      }
      resume()
    }
  }

  private func resume() {
    continuation?.resume(returning: Outcomes(byRank: outcomes.map { $0! }))
    (continuation, outcomes) = (nil, outcomes.map { _ in nil })
  }
}
