import Foundation
import TestSupport
import Testing
import Torch

/// The helper that other rooms test their parallel layouts with.
@Suite struct RanksTests {
  @Test func resultsComeByRank() async throws {
    let results = try await runGroup(4) { group in
      group.barrier()  // all threads are there at the same time
      let thread = pthread_self()
      group.barrier()
      return (group.rank, thread)
    }
    #expect(results.map(\.0) == [0, 1, 2, 3] && Set(results.map(\.1)).count == 4)
  }

  @Test func allErrorsAreCollected() async throws {
    let failure = try await #require(throws: RankFailure.self) {
      try await runRanks(3) { rank, _ in
        if rank == 1 { throw TorchError("mine") }
        if rank == 2 { _ = Tensor.ones([2]).view([3]) }
      }
    }
    #expect(failure.errors.keys.sorted() == [1, 2])
    #expect(failure.description.hasPrefix("rank 1: mine; rank 2: shape '[3]'"))
  }

  @Test func aStuckRankIsReported() async throws {
    let failure = try await #require(throws: RankFailure.self) {
      try await runRanks(2, timeout: .milliseconds(300)) { rank, _ in
        if rank == 0 { Thread.sleep(forTimeInterval: 1) }
      }
    }
    #expect(failure.description == "rank 0: not ended within 0.3 seconds")
  }
}
