import Checkpoints
import Foundation
import TestSupport
import Testing
import Torch

@Suite struct TorchDistMergeTests {
  private func shard(
    _ shape: [Int], _ offsets: [Int], _ sizes: [Int], rank: Int, checksum: UInt32 = 1,
    dtype: DType = .float32
  ) -> RankContents {
    let location = FileLocation(file: "__\(rank)_0.distcp", offset: 0, length: 100)
    let content = WrittenItem.Content.shard(
      dtype: dtype, globalShape: shape, box: TensorBox(offsets: offsets, sizes: sizes))
    return RankContents(rank: rank, items: [
      WrittenItem(name: "w", path: nil, content: content, checksum: checksum, location: location)
    ])
  }

  private func object(_ name: String = "w", rank: Int, checksum: UInt32 = 1) -> RankContents {
    let location = FileLocation(file: "__\(rank)_0.distcp", offset: 0, length: 100)
    return RankContents(rank: rank, items: [
      WrittenItem(name: name, path: nil, content: .object, checksum: checksum, location: location)
    ])
  }

  @Test func replicasAreKeptOnce() throws {
    let ranks = [
      shard([4], [2], [2], rank: 3, checksum: 7), shard([4], [0], [2], rank: 2),
      shard([4], [2], [2], rank: 1, checksum: 7),
    ]
    for order in [ranks, ranks.reversed()] {
      let metadata = try TorchDistMetadata(merging: order)
      #expect(metadata.tensors.count == 1)
      #expect(metadata.tensors[0].shards.map(\.location.file) == ["__1_0.distcp", "__2_0.distcp"])
      #expect(metadata.tensors[0].shards.map(\.box.offsets) == [[2], [0]])
      #expect(metadata.paths == nil)
    }
    let objects = try TorchDistMetadata(merging: [object(rank: 1), object(rank: 0)]).objects
    #expect(objects.map(\.location.file) == ["__0_0.distcp"])
  }

  @Test func shardsWithoutElementsAddNothing() throws {
    let ranks = [
      shard([3, 2], [3, 0], [0, 2], rank: 0), shard([3, 2], [0, 0], [0, 2], rank: 1),
      shard([3, 2], [0, 0], [3, 2], rank: 2),
    ]
    #expect(try TorchDistMetadata(merging: ranks).tensors[0].shards.map(\.location.file) == ["__2_0.distcp"])
    // A tensor that has none at all has one such shard.
    let empty = [shard([0, 2], [0, 0], [0, 2], rank: 0), shard([0, 2], [0, 0], [0, 2], rank: 1)]
    #expect(try TorchDistMetadata(merging: empty).tensors[0].shards.map(\.location.file) == ["__0_0.distcp"])
  }

  @Test func saysWhatDoesNotFit() throws {
    func message(_ ranks: RankContents...) -> String? {
      #expect(throws: CheckpointError.self) { try TorchDistMetadata(merging: ranks) }?.description
    }
    #expect(message(shard([4], [0], [2], rank: 0), shard([4], [3], [1], rank: 1))
      == "tensor 'w' of shape [4] has no shard that holds [2:3]; no rank wrote it")
    #expect(message(shard([4], [0], [3], rank: 0), shard([4], [2], [2], rank: 5))
      == "tensor 'w' of shape [4] has shards that overlap: [0:3] of rank 0 and [2:4] of rank 5")
    #expect(message(shard([4], [0], [4], rank: 0), shard([4], [0], [2], rank: 1))
      == "tensor 'w' has two shards that begin at the same place: [0:4] of rank 0 and [0:2] of rank 1")
    #expect(message(shard([4], [0], [4], rank: 0), shard([5], [0], [4], rank: 1))
      == "tensor 'w' is [4] float32 for rank 0 but [5] float32 for rank 1")
    #expect(message(shard([4], [0], [4], rank: 0), shard([4], [0], [4], rank: 1, dtype: .bfloat16))
      == "tensor 'w' is [4] float32 for rank 0 but [4] bfloat16 for rank 1")
    #expect(message(shard([4], [0], [4], rank: 0), shard([4], [0], [4], rank: 1, checksum: 2))
      == "ranks 0 and 1 both wrote shard [0:4] of tensor 'w', but not the same bytes; replicas must be equal, and what "
      + "differs needs names of its own")
    #expect(message(object(rank: 0), object(rank: 1, checksum: 2))
      == "ranks 0 and 1 both wrote object 'w', but not the same bytes; replicas must be equal, and what differs needs "
      + "names of its own")
    #expect(message(object(rank: 0), shard([4], [0], [4], rank: 1))
      == "'w' is a tensor for one of ranks 0 and 1, and an object for the other")
    #expect(message(shard([4], [3], [2], rank: 6)) == "tensor 'w' of shape [4] has a shard [3:5] of rank 6, outside it")
    #expect(message(object(rank: 0), object("x", rank: 0)) == "rank 0 reported twice what it wrote")
    #expect(message(shard([4], [4], [0], rank: 0))
      == "tensor 'w' has elements, but all shards of it that were written have none")
  }

  @Test func eachReplicaHasOneWriter() {
    func item(_ name: String, _ offset: Int?, _ count: Int) -> PlannedItem {
      PlannedItem(name: name, offsets: offset.map { [$0] }, byteCount: count)
    }
    // Eight equal replicas over four ranks: two each, in turn.
    let replicated = (0..<8).map { item("t\($0)", 0, 100) }
    #expect(WriteAssignment.assign(Array(repeating: replicated, count: 4)) == [[0, 4], [1, 5], [2, 6], [3, 7]])
    // What only one holds it writes; the other gets the replicas until it has caught up.
    let plans = [
      [item("own", 0, 250), item("x", 0, 100), item("y", 0, 100), item("z", 0, 100), item("object", nil, 10)],
      [item("own", 1, 0), item("x", 0, 100), item("y", 0, 100), item("z", 0, 100), item("object", nil, 10)],
    ]
    #expect(WriteAssignment.assign(plans) == [[0, 4], [0, 1, 2, 3]])
    var generator = SeededGenerator(state: 4)
    for _ in 0..<200 {
      let random = (0..<Int.random(in: 1...5, using: &generator)).map { _ in
        (0..<20).filter { _ in Bool.random(using: &generator) }.map { item("t\($0)", $0 % 3 == 0 ? nil : $0, $0 * 7) }
      }
      let assigned = WriteAssignment.assign(random)
      let written = assigned.enumerated().flatMap { rank, places in places.map { random[rank][$0] } }
      #expect(Set(written).count == written.count)
      #expect(Set(written) == Set(random.joined()))
      #expect(assigned.allSatisfy { $0 == $0.sorted() })
    }
  }
}
