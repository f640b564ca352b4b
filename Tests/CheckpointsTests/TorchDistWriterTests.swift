import Checkpoints
import Foundation
import JSON
import TestSupport
import Testing
import Torch

@Suite struct TorchDistWriterTests {
  /// The fixture's state, in its order.
  private func singleItems() throws -> [SaveItem] {
    var items: [SaveItem] = []
    func path(_ name: String) -> [StateDictKey] {
      switch name {
      case "nested.weights.w": ["nested", "weights", "w"]
      case "nested.list.1": ["nested", "list", 1]
      default: [.key(name)]
      }
    }
    for (name, dtype, shape) in TorchDistReaderTests.single.dropLast() {
      if name == "nested.weights.w" {
        items.append(try .value("step", 7, path: ["step"]))
        items.append(try .value("text", "café", path: ["text"]))
      }
      items.append(.tensor(name, filled(name, dtype, shape), path: path(name)))
    }
    items.append(try .value("nested.list.0", 1, path: ["nested", "list", 0]))
    items.append(.tensor("nested.list.1", filled("nested.list.1", .int32, [3]), path: path("nested.list.1")))
    items.append(try .value("mixed.plain", .tuple([1, 2.5, .null, true, "x"]), path: ["mixed", "plain"]))
    let seed = PickleValue.largeInt([255, 255, 255, 255, 255, 255, 255, 255, 0])
    items.append(try .value("mixed.seed", seed, path: ["mixed", "seed"]))
    return items
  }

  /// All bytes of all files are those that PyTorch wrote, save that it kept two tensors in another order of their elements.
  @Test func writesTheBytesThatPyTorchWrites() throws {
    try withTemporaryFolder { folder in
      let contents = try TorchDistWriter(folder: folder, rank: 0).write(singleItems())
      let original = try TorchDistReader(torchDistFixture("single"))
      let metadata = try TorchDistMetadata(
        merging: [contents], checkpointID: "single", saveID: "01234567-89ab-cdef-0123-456789abcdef")
      try metadata.write(to: folder)
      #expect(try Data(contentsOf: folder.appendingPathComponent(".metadata"))
        == Data(contentsOf: torchDistFixture("single/.metadata")))
      #expect(metadata == original.metadata)

      let (ours, theirs) = (
        [UInt8](try Data(contentsOf: folder.appendingPathComponent("__0_0.distcp"))),
        [UInt8](try Data(contentsOf: torchDistFixture("single/__0_0.distcp")))
      )
      try #require(ours.count == theirs.count)
      for item in contents.items where !["transposed", "permuted"].contains(item.name) {
        let range = item.location.offset..<item.location.offset + item.location.length
        #expect(ours[range] == theirs[range], "\(item.name)")
      }
      let reader = try TorchDistReader(folder)
      try reader.verify()
      for (name, dtype, shape) in TorchDistReaderTests.single {
        #expect(try bytes(reader.tensor(name)) == pattern(name, dtype, shape), "\(name)")
      }
      #expect(try reader.value("mixed.plain") == .tuple([1, 2.5, .null, true, "x"]))
    }
  }

  /// Metadata that PyTorch wrote, read and written again.
  @Test func metadataSurviveToTheByte() throws {
    let url = torchDistFixture("single")
    #expect(try Data(TorchDistMetadata(in: url).pickled()) == Data(contentsOf: url.appendingPathComponent(".metadata")))
    let ranks = try TorchDistMetadata(in: torchDistFixture("ranks"))
    try withTemporaryFolder { folder in
      try ranks.write(to: folder)
      #expect(try TorchDistMetadata(in: folder) == ranks)
    }
  }

  /// 2300 tensors: several frames and batches of the pickle.
  @Test func largeCheckpointsAreTheSameToTheByte() throws {
    let expected = try readJSON("large.json")
    try withTemporaryFolder { folder in
      let items = (0..<2300).map { i in
        let name = "layers.\(i).weight"
        return SaveItem.tensor(name, filled(name, .float32, [i % 7 + 1, 3]), path: [.key(name)])
      }
      let contents = try TorchDistWriter(folder: folder, rank: 0).write(items)
      try TorchDistMetadata(
        merging: [contents], checkpointID: "large", saveID: "01234567-89ab-cdef-0123-456789abcdef"
      ).write(to: folder)
      for name in [".metadata", "__0_0.distcp"] {
        let data = try Data(contentsOf: folder.appendingPathComponent(name))
        #expect(data.count == expected[name]?["length"]?.int)
        #expect(Int(data.withUnsafeBytes { CRC32.checksum($0) }) == expected[name]?["crc32"]?.int)
      }
    }
  }

  /// What each of the fixture's ranks wrote, in its order.
  private func rankItems(_ rank: Int) throws -> [SaveItem] {
    func part(_ name: String, _ dtype: DType, _ shape: [Int], _ offsets: [Int], _ sizes: [Int]) -> SaveItem {
      let box = TensorBox(offsets: offsets, sizes: sizes)
      let bytes = cut(box, of: pattern(name, dtype, shape), shape, elementSize: dtype.size)
      let tensor = HostTensor(dtype: dtype, shape: sizes, bytes: bytes).tensor()
      return .shard(name, globalShape: shape, offsets: offsets, tensor, path: [.key(name)])
    }
    func whole(_ name: String, _ dtype: DType, _ shape: [Int], path: [StateDictKey]? = nil) -> SaveItem {
      .tensor(name, filled(name, dtype, shape), path: path ?? [.key(name)])
    }
    var items = [
      part("rows", .bfloat16, [6, 4], [2 * rank, 0], [rank < 3 ? 2 : 0, 4]),
      part("columns", .float32, [3, 8], [0, 2 * rank], [3, 2]),
      part("grid", .int16, [4, 6], [rank / 2 * 2, rank % 2 * 3], [2, 3]),
      part("uneven", .float8e4m3, [7], [2 * rank], [rank < 3 ? 2 : 1]),
    ]
    switch rank {
    case 1: items.append(whole("replicated", .int64, [2, 2]))
    case 2: items.append(part("replicas.of.rows", .float16, [5, 2], [0, 0], [3, 2]))
    case 3:
      items.append(part("replicas.of.rows", .float16, [5, 2], [3, 0], [2, 2]))
      items.append(whole("also.replicated", .bool, [9]))
      items.append(.tensor("step", Tensor(3), path: ["step"]))
      items.append(try .value("epoch", 3, path: ["epoch"]))
    default: break
    }
    items.append(whole("random.\(rank).state", .uint8, [16], path: [.key("random.\(rank)"), "state"]))
    let seed = PickleValue.largeInt([UInt8(rank), 0, 0, 0, 0, 0, 0, 128, 0])
    items.append(try .value("random.\(rank).seed", seed, path: [.key("random.\(rank)"), "seed"]))
    return items
  }

  @Test func fourRanksWriteTheBytesThatPyTorchWrites() throws {
    try withTemporaryFolder { folder in
      var contents: [RankContents] = []
      for rank in [2, 0, 3, 1] {
        let written = try TorchDistWriter(folder: folder, rank: rank).write(rankItems(rank))
        // The description goes to the coordinator as JSON.
        contents.append(try JSONDecoder().decode(RankContents.self, from: JSONEncoder().encode(written)))
        let name = "__\(rank)_0.distcp"
        #expect(try Data(contentsOf: folder.appendingPathComponent(name)) == Data(contentsOf: torchDistFixture("ranks/" + name)))
      }
      let metadata = try TorchDistMetadata(merging: contents)
      let original = try TorchDistMetadata(in: torchDistFixture("ranks"))
      #expect(metadata.paths?.filter { $0.key.hasPrefix("random") } == original.paths?.filter { $0.key.hasPrefix("random") })
      #expect(metadata.objects == original.objects)
      #expect(metadata.tensors.map(\.name) == original.tensors.map(\.name))
      for (ours, theirs) in zip(metadata.tensors, original.tensors) {
        #expect(ours.shape == theirs.shape && ours.dtypeName == theirs.dtypeName)
        // PyTorch lists the last rank's shard of 'rows', which has no elements.
        #expect(ours.shards == theirs.shards.filter { !$0.box.isEmpty }, "\(ours.name)")
      }
      try metadata.write(to: folder)
      let reader = try TorchDistReader(folder)
      for (name, dtype, shape) in TorchDistReaderTests.ranks {
        #expect(try bytes(reader.tensor(name)) == pattern(name, dtype, shape), "\(name)")
      }
    }
  }

  @Test func severalFilesARank() throws {
    try withTemporaryFolder { folder in
      let items = try (0..<9).map { SaveItem.tensor("t\($0)", filled("t\($0)", .float32, [10 * ($0 + 1)])) }
        + [.value("a", 1), .value("b", 2), .value("c", 3)]
      let contents = try TorchDistWriter(folder: folder, rank: 5, fileCount: 3).write(items)
      #expect(contents.items.map(\.name) == items.map(\.name))
      let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
      #expect(names == ["__5_0.distcp", "__5_1.distcp", "__5_2.distcp"])
      // From the largest on: 90 | 80 | 70 and 60, and so on: 4.5 kB in all.
      let totals = names.map { name in
        contents.items.filter { $0.location.file == name && $0.content != .object }.map(\.location.length).reduce(0, +)
      }
      #expect(totals.max()! - totals.min()! < 400)
      try TorchDistMetadata(merging: [contents]).write(to: folder)
      let reader = try TorchDistReader(folder)
      for i in 0..<9 { #expect(try bytes(reader.tensor("t\(i)")) == pattern("t\(i)", .float32, [10 * (i + 1)])) }
      #expect(try reader.value("c") == 3)
    }
  }

  @Test func anyLayoutAndTypeOfMemory() throws {
    try withTemporaryFolder { folder in
      let matrix = filled("m", .bfloat16, [4, 6])
      let contents = try TorchDistWriter(folder: folder, rank: 0).write([
        .tensor("transposed", matrix.transpose(0, dim1: 1)), .tensor("column", matrix.narrow(1, start: 2, length: 1)),
        .tensor("expanded", matrix.narrow(0, start: 0, length: 1).expand([3, 6])),
      ])
      try TorchDistMetadata(merging: [contents]).write(to: folder)
      let reader = try TorchDistReader(folder)
      #expect(try reader.tensor("transposed").equal(matrix.transpose(0, dim1: 1)))
      #expect(try reader.tensor("column").equal(matrix.narrow(1, start: 2, length: 1)))
      #expect(try reader.tensor("expanded").equal(matrix.narrow(0, start: 0, length: 1).expand([3, 6])))
    }
  }

  @Test func saysWhatCannotBeWritten() throws {
    try withTemporaryFolder { folder in
      let writer = TorchDistWriter(folder: folder, rank: 4)
      let tensor = Tensor.zeros([2, 3])
      func message(_ items: [SaveItem]) -> String? {
        #expect(throws: CheckpointError.self) { try writer.write(items) }?.description
      }
      #expect(message([.shard("w", globalShape: [4, 3], offsets: [3, 0], tensor)])
        == "tensor 'w' of shape [4, 3] cannot have a shard of shape [2, 3] at [3, 0]; each offset and size must lie in the whole")
      #expect(message([.shard("w", globalShape: [4], offsets: [0], tensor)])?.hasPrefix("tensor 'w' of shape [4] cannot") == true)
      #expect(message([.tensor("w", tensor), .tensor("w", tensor)])
        == "rank 4 was given 'w' twice; a name has one object, or one shard at each offset")
      let nowhere = TorchDistWriter(folder: folder.appendingPathComponent("absent"), rank: 0)
      let error = #expect(throws: CheckpointError.self) { try nowhere.write([.tensor("w", tensor)]) }
      #expect(error?.description == "\(folder.path)/absent/__0_0.distcp: cannot create the file: No such file or directory")
    }
  }
}
