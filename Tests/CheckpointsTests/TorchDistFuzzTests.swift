import Checkpoints
import Foundation
import TestSupport
import Testing
import Torch

/// Random tensors, cut in random ways over random ranks, read back in other boxes: bit for bit the same.
@Suite struct TorchDistFuzzTests {
  struct RandomTensor {
    var name: String
    var dtype: DType
    var shape: [Int]
    var bytes: [UInt8]
    var boxes: [TensorBox]
  }

  static func randomTensor(_ name: String, using generator: inout SeededGenerator) -> RandomTensor {
    let dtype = DType.allCases.randomElement(using: &generator)!
    let dimensions = Int.random(in: 0...4, using: &generator)
    let shape = (0..<dimensions).map { _ in
      Int.random(in: 0..<20, using: &generator) == 0 ? 0 : Int.random(in: 1...9, using: &generator)
    }
    let bytes = (0..<shape.reduce(dtype.size, *)).map { _ in
      UInt8.random(in: dtype == .bool ? 0...1 : 0...255, using: &generator)
    }
    return RandomTensor(
      name: name, dtype: dtype, shape: shape, bytes: bytes,
      boxes: cutUp(TensorBox(whole: shape), Int.random(in: 1...9, using: &generator), using: &generator))
  }

  /// Boxes that cover the box without overlap, by cutting a random one in a random place: no grid.
  static func cutUp(_ box: TensorBox, _ count: Int, using generator: inout SeededGenerator) -> [TensorBox] {
    var boxes = [box]
    for _ in 1..<max(2, count) {
      let index = Int.random(in: 0..<boxes.count, using: &generator)
      let first = boxes[index]
      guard let dimension = first.sizes.indices.filter({ first.sizes[$0] > 1 }).randomElement(using: &generator) else { continue }
      let size = Int.random(in: 1..<first.sizes[dimension], using: &generator)
      var second = first
      second.offsets[dimension] += size
      second.sizes[dimension] -= size
      boxes[index].sizes[dimension] = size
      boxes.append(second)
    }
    return boxes
  }

  /// Writes the tensors over several ranks, some shards on more than one, and returns what the ranks wrote.
  static func write(
    _ tensors: [RandomTensor], to folder: URL, using generator: inout SeededGenerator
  ) throws -> [RankContents] {
    let rankCount = Int.random(in: 1...5, using: &generator)
    var items = Array(repeating: [SaveItem](), count: rankCount)
    for tensor in tensors {
      for box in tensor.boxes {
        let bytes = cut(box, of: tensor.bytes, tensor.shape, elementSize: tensor.dtype.size)
        let part = HostTensor(dtype: tensor.dtype, shape: box.sizes, bytes: bytes).tensor()
        let copies = Int.random(in: 0..<4, using: &generator) == 0 ? 2 : 1
        for rank in (0..<rankCount).shuffled(using: &generator).prefix(copies) {
          items[rank].append(.shard(tensor.name, globalShape: tensor.shape, offsets: box.offsets, part))
        }
      }
    }
    let isAssigned = Bool.random(using: &generator)
    let assigned = WriteAssignment.assign(items.map { $0.map(\.plan) })
    return try items.indices.map { rank in
      let own = isAssigned ? assigned[rank].map { items[rank][$0] } : items[rank]
      let fileCount = Int.random(in: 1...3, using: &generator)
      return try TorchDistWriter(folder: folder, rank: rank, fileCount: fileCount).write(own)
    }
  }

  @Test(arguments: 0..<40)
  func writtenInShardsReadInBoxes(seed: Int) throws {
    var generator = SeededGenerator(state: UInt64(seed))
    try withTemporaryFolder { folder in
      let tensors = (0..<Int.random(in: 1...8, using: &generator)).map {
        Self.randomTensor("layers.\($0).weight", using: &generator)
      }
      let contents = try Self.write(tensors, to: folder, using: &generator)
      try TorchDistMetadata(merging: contents.shuffled(using: &generator)).write(to: folder)
      let reader = try TorchDistReader(folder)
      try reader.verify()
      #expect(Set(reader.metadata.tensors.map(\.name)) == Set(tensors.map(\.name)))
      for tensor in tensors {
        try reader.check(tensor.name, shape: tensor.shape, dtype: tensor.dtype)
        #expect(try bytes(reader.tensor(tensor.name)) == tensor.bytes)
        for box in Self.cutUp(TensorBox(whole: tensor.shape), 6, using: &generator) {
          let expected = cut(box, of: tensor.bytes, tensor.shape, elementSize: tensor.dtype.size)
          #expect(try bytes(reader.tensor(tensor.name, box)) == expected, "\(tensor.name) \(box)")
        }
      }
    }
  }

  /// Without any one shard the checkpoint is refused, or the shard was a replica.
  @Test(arguments: 100..<110)
  func aMissingShardIsMissed(seed: Int) throws {
    var generator = SeededGenerator(state: UInt64(seed))
    try withTemporaryFolder { folder in
      let tensors = (0..<3).map { Self.randomTensor("t\($0)", using: &generator) }
      let contents = try Self.write(tensors, to: folder, using: &generator)
      let whole = try TorchDistMetadata(merging: contents)
      for (r, rank) in contents.enumerated() {
        for i in rank.items.indices {
          var fewer = contents
          var items = rank.items
          let removed = items.remove(at: i)
          fewer[r] = RankContents(rank: rank.rank, items: items)
          let isReplica = contents.flatMap(\.items).filter {
            $0.name == removed.name && $0.content == removed.content
          }.count > 1
          let names = Set(fewer.flatMap(\.items).map(\.name))
          guard case .shard(_, let shape, _) = removed.content, !shape.contains(0) else { continue }
          if isReplica || !names.contains(removed.name) {
            let merged = try TorchDistMetadata(merging: fewer)
            #expect(merged.tensors.count == whole.tensors.count - (isReplica ? 0 : 1))
          } else {
            #expect(throws: CheckpointError.self) { try TorchDistMetadata(merging: fewer) }
          }
        }
      }
    }
  }
}
