import TestSupport
import Testing
import Torch

/// Collectives over NCCL, a GPU a rank.
@Suite(.serialized, .onTwoGPUs) struct GroupsOnGPUTests {
  private static func run<R>(_ body: @escaping @Sendable (ProcessGroup, Device) throws -> R) async throws -> [R] {
    try await runRanks(2) { rank, store in
      let device = try GPU.open(rank)
      return try body(.nccl("test", store: store, rank: rank, size: 2, device: device, timeout: .seconds(60)), device)
    }
  }

  @Test func collectives() async throws {
    let found = try await Self.run { group, device -> [[Float]] in
      let own = Tensor.arange(4, dtype: .float32, device: device) + Double(10 * group.rank)
      let sum = own.clone()
      group.allReduce(sum)
      let all = Tensor.empty([8], device: device)
      group.allGather(own, into: all)
      let part = Tensor.empty([2], device: device)
      group.reduceScatter(own, into: part)
      let first = own.clone()
      group.broadcast(first, from: 1)
      let swapped = Tensor.empty([4], device: device)
      group.allToAll(own, into: swapped)
      return [sum, all, part, first, swapped].map { $0.array() }
    }
    for rank in 0..<2 {
      #expect(found[rank][0] == [10, 12, 14, 16])
      #expect(found[rank][1] == [0, 1, 2, 3, 10, 11, 12, 13])
      #expect(found[rank][2] == (rank == 0 ? [10, 12] : [14, 16]))
      #expect(found[rank][3] == [10, 11, 12, 13])
      #expect(found[rank][4] == (rank == 0 ? [0, 1, 10, 11] : [2, 3, 12, 13]))
    }
  }
}
