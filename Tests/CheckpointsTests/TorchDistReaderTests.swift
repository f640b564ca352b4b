import Checkpoints
import Foundation
import TestSupport
import Testing
import Torch

@Suite struct TorchDistReaderTests {
  static let single: [(name: String, dtype: DType, shape: [Int])] =
    [
      DType.float64, .float32, .float16, .bfloat16, .float8e5m2, .float8e4m3, .int64, .int32, .int16, .int8, .uint8, .bool,
    ].map { ("type." + $0.name, $0, [2, 3]) } + [
      ("scalar", .float32, []), ("empty.rows", .float32, [0, 3]), ("empty.columns", .bfloat16, [2, 0]),
      ("four", .int16, [2, 3, 4, 5]), ("transposed", .float32, [3, 4]), ("permuted", .int8, [2, 3, 4]),
      ("part", .float32, [3, 3]), ("name with é and /", .uint8, [300]), ("nested.weights.w", .float64, [2, 2]),
      ("nested.list.1", .int32, [3]),
    ]
  static let ranks: [(name: String, dtype: DType, shape: [Int])] =
    [
      ("rows", .bfloat16, [6, 4]), ("columns", .float32, [3, 8]), ("grid", .int16, [4, 6]), ("uneven", .float8e4m3, [7]),
      ("replicas.of.rows", .float16, [5, 2]), ("replicated", .int64, [2, 2]), ("also.replicated", .bool, [9]),
    ] + (0..<4).map { ("random.\($0).state", .uint8, [16]) }

  /// The whole of each tensor, and boxes of it, bit for bit.
  private func check(
    _ reader: TorchDistReader, _ expected: [(name: String, dtype: DType, shape: [Int])], boxes count: Int = 6
  ) throws {
    var generator = SeededGenerator(state: 2)
    for (name, dtype, shape) in expected {
      let entry = try reader.description(of: name)
      #expect(entry.shape == shape && entry.dtype == dtype)
      let all = pattern(name, dtype, shape)
      let whole = try reader.tensor(name)
      #expect(whole.shape == shape && whole.dtype == dtype)
      #expect(bytes(whole) == all, "\(name)")
      for _ in 0..<count {
        let offsets = shape.map { Int.random(in: 0...$0, using: &generator) }
        let box = TensorBox(
          offsets: offsets, sizes: zip(shape, offsets).map { Int.random(in: 0...$0 - $1, using: &generator) })
        let part = try reader.tensor(name, box)
        #expect(part.shape == box.sizes)
        #expect(bytes(part) == cut(box, of: all, shape, elementSize: dtype.size), "\(name) \(box)")
      }
    }
  }

  private func checkObjects(_ reader: TorchDistReader) throws {
    #expect(try reader.value("step") == 7)
    #expect(try reader.value("text") == "café")
    #expect(try reader.value("nested.list.0") == 1)
    #expect(try reader.value("mixed.plain") == .tuple([1, 2.5, .null, true, "x"]))
    #expect(try reader.value("mixed.seed") == .largeInt([255, 255, 255, 255, 255, 255, 255, 255, 0]))
    #expect(reader.metadata.objects.count == 5)
  }

  @Test func readsWhatOneProcessSaved() throws {
    let reader = try TorchDistReader(torchDistFixture("single"))
    #expect(reader.metadata.tensors.count == Self.single.count)
    try check(reader, Self.single)
    try checkObjects(reader)
    try reader.verify()
    #expect(reader.contains("four") && reader.contains("step") && !reader.contains("five"))
    #expect(reader.metadata.paths?["nested.list.1"] == ["nested", "list", 1])
    #expect(reader.metadata.checkpointID == "single")
  }

  @Test func readsWhatFourProcessesSaved() throws {
    let reader = try TorchDistReader(torchDistFixture("ranks"))
    try check(reader, Self.ranks, boxes: 40)
    #expect(try reader.tensor("step").item() == 3)
    #expect(try reader.value("epoch") == 3)
    #expect(try reader.value("random.3.seed") == .largeInt([3, 0, 0, 0, 0, 0, 0, 128, 0]))
    #expect(try reader.description(of: "grid").shards.count == 4)
    try reader.verify()
  }

  @Test(arguments: ["oldest", "megatron"])
  func readsOtherLayoutsOfTheMetadata(name: String) throws {
    try withCopy(of: "single") { folder in
      try replaceMetadata(of: folder, by: name)
      let reader = try TorchDistReader(folder)
      try check(reader, Self.single, boxes: 1)
      try checkObjects(reader)
      #expect((reader.metadata.paths == nil) == (name == "megatron"))
    }
  }

  /// Tensors that are views of larger or other storages, in a file in a folder of the folder.
  @Test func readsViewsAsTheyAreStored() throws {
    let base = filled("base", .int32, [4, 5, 6])
    let steps = base.slice(0, start: 1, end: 4, step: 2).slice(1, start: 0, end: 5, step: 3).slice(2, start: 1, end: 6, step: 2)
    let views: [(String, Tensor)] = [
      ("base", base), ("last", base.select(0, index: 3)), ("column", base.select(1, index: 2).select(1, index: 3)),
      ("steps", steps), ("permuted", base.narrow(0, start: 1, length: 2).permute([2, 0, 1])),
      ("expanded", base.select(0, index: 2).narrow(0, start: 1, length: 1).expand([3, 6])),
      ("parameter", base.to(dtype: .float32).select(0, index: 1).narrow(0, start: 2, length: 2)),
      ("scalar", base.select(0, index: 3).select(0, index: 4).select(0, index: 5)),
      ("none", base.narrow(0, start: 2, length: 0)), ("float8", filled("float8", .float8e5m2, [6]).narrow(0, start: 2, length: 3)),
    ]
    let reader = try TorchDistReader(torchDistFixture("views"))
    let all = try TorchFile.read(torchDistFixture("views/all.pt"))
    var generator = SeededGenerator(state: 3)
    for (name, view) in views {
      let (shape, dtype, expected) = (view.shape, view.dtype, bytes(view))
      let whole = try reader.tensor(name)
      #expect(whole.shape == shape && whole.dtype == dtype && bytes(whole) == expected, "\(name)")
      #expect(all[name]?.tensor == HostTensor(view), "\(name)")
      for _ in 0..<10 {
        let offsets = shape.map { Int.random(in: 0...$0, using: &generator) }
        let box = TensorBox(
          offsets: offsets, sizes: zip(shape, offsets).map { Int.random(in: 0...$0 - $1, using: &generator) })
        #expect(
          try bytes(reader.tensor(name, box)) == cut(box, of: expected, shape, elementSize: dtype.size), "\(name) \(box)")
      }
    }
    #expect(reader.metadata.tensors.count == views.count)
  }

  private func replaceMetadata(of folder: URL, by name: String) throws {
    let url = folder.appendingPathComponent(".metadata")
    try Data(contentsOf: torchDistFixture("metadata/" + name)).write(to: url)
  }

  @Test(arguments: [
    ("no-place", ".metadata", "tensor 'four' has a shard [0:2, 0:3, 0:4, 0:5], but no file is named that holds it"),
    ("outside-shape", ".metadata", "tensor 'four' is [2, 3, 4, 5], but has a shard of sizes [2, 3, 4, 6] at [0, 0, 0, 0]"),
    ("hole", "", "tensor 'four' has no shard that holds [0:2, 0:3, 0:4, 4:5]; the checkpoint is incomplete"),
    (
      "overlap", "",
      "tensor 'four' has shards that overlap: [0:2, 0:3, 0:4, 0:5] and [1:2, 0:3, 0:4, 0:5]; the checkpoint is ambiguous"
    ),
    (
      "other-type", "__0_0.distcp",
      "shard [0:2, 0:3, 0:4, 0:5] of tensor 'four': it is [2, 3, 4, 5] int16, but .metadata says [2, 3, 4, 5] float32"
    ),
    ("no-such-type", "", "tensor 'four' is complex64, which has no tensors here"),
    (
      "outside-folder", ".metadata",
      "'four' is said to lie in '../single/__0_0.distcp', which is outside the checkpoint's folder"
    ),
    ("missing-file", "__1_0.distcp", "this file of the checkpoint is missing; .metadata names it"),
    (
      "beyond-file", "__0_0.distcp",
      "shard [0:2, 0:3, 0:4, 0:5] of tensor 'four' should be 1769 bytes from byte 1000000 on, but the file ends after 41447; "
        + "it is truncated"
    ),
    (
      "elsewhere", "__0_0.distcp",
      "shard [0:2, 0:3, 0:4, 0:5] of tensor 'four': it is [] float32, but .metadata says [2, 3, 4, 5] int16"
    ),
    ("compressed", ".metadata", "'four' was saved through the extension stream.zstd, which cannot be undone here"),
    ("code", ".metadata", "the pickle names 'posix.system', which is not allowed in such a file"),
    ("no-metadata", ".metadata", "it holds a list, not a checkpoint's Metadata"),
  ])
  func saysWhatIsWrong(name: String, file: String, problem: String) throws {
    try withCopy(of: "single") { folder in
      try replaceMetadata(of: folder, by: name)
      let place = file.isEmpty ? folder : folder.appendingPathComponent(file)
      let error = #expect(throws: CheckpointError.self) { try TorchDistReader(folder).tensor("four") }
      #expect(error?.description == "\(place.path): \(problem)")
      // What is not concerned can be read.
      if file != ".metadata" {
        #expect(try bytes(TorchDistReader(folder).tensor("permuted")) == pattern("permuted", .int8, [2, 3, 4]))
      }
    }
  }

  /// A hole hurts only those who ask for it.
  @Test func readsBesideAHole() throws {
    try withCopy(of: "single") { folder in
      try replaceMetadata(of: folder, by: "hole")
      let reader = try TorchDistReader(folder)
      let entry = try reader.description(of: "four")
      #expect(entry.shards[0].box == TensorBox(offsets: [0, 0, 0, 0], sizes: [2, 3, 4, 4]))
      // The stored shard has another shape than the metadata says, which is an error of its own.
      let error = #expect(throws: CheckpointError.self) {
        try reader.tensor("four", TensorBox(offsets: [0, 0, 0, 0], sizes: [1, 1, 1, 1]))
      }
      #expect(error?.description.hasSuffix("it is [2, 3, 4, 5] int16, but .metadata says [2, 3, 4, 4] int16") == true)
    }
    try withCopy(of: "ranks") { folder in
      try FileManager.default.removeItem(at: folder.appendingPathComponent("__2_0.distcp"))
      let reader = try TorchDistReader(folder)
      let part = try reader.tensor("rows", TensorBox(offsets: [0, 0], sizes: [4, 4]))
      #expect(bytes(part) == Array(pattern("rows", .bfloat16, [6, 4]).prefix(32)))
      #expect(throws: CheckpointError.self) { try reader.tensor("rows") }
    }
  }

  @Test func refusesWhatDoesNotFit() throws {
    let folder = torchDistFixture("single")
    let reader = try TorchDistReader(folder)
    func message(_ body: () throws -> Void) -> String? {
      #expect(throws: CheckpointError.self, performing: body)?.description
    }
    #expect(message { _ = try reader.tensor("five") }
      == "\(folder.path): there is no tensor 'five' among the 22 of this checkpoint")
    #expect(message { _ = try reader.tensor("step") } == "\(folder.path): 'step' is an object in this checkpoint, not a tensor")
    #expect(message { _ = try reader.value("four") } == "\(folder.path): 'four' is a tensor in this checkpoint, not an object")
    #expect(message { _ = try reader.tensor("part", TensorBox(offsets: [0, 1], sizes: [3, 3])) }
      == "\(folder.path): tensor 'part' is [3, 3] and does not have the box [0:3, 1:4]")
    #expect(message { try reader.check("part", shape: [3, 4], dtype: .int8) }
      == "\(folder.path): tensor 'part' is [3, 3] float32, expected [3, 4] int8")
    try reader.check("part", shape: [3, 3])
    let absent = fixture("models")
    #expect(message { _ = try TorchDistReader(absent) }?.hasPrefix(
      "\(absent.path): there is no file .metadata in this folder, which holds ") == true)
  }

  @Test func readsIntoATensor() throws {
    let reader = try TorchDistReader(torchDistFixture("ranks"))
    let target = Tensor.zeros([2, 3], dtype: .int16)
    try reader.read("grid", at: [1, 2], into: target)
    let expected = cut(
      TensorBox(offsets: [1, 2], sizes: [2, 3]), of: pattern("grid", .int16, [4, 6]), [4, 6], elementSize: 2)
    #expect(bytes(target) == expected)
    // A row of a larger tensor is contiguous, a column is not.
    let larger = Tensor.zeros([3, 6], dtype: .int16)
    try reader.read("grid", at: [3, 0], into: larger.narrow(0, start: 1, length: 1))
    #expect(bytes(larger.slice(0, start: 1, end: 2)) == Array(pattern("grid", .int16, [4, 6]).suffix(12)))
    #expect(throws: CheckpointError.self) {
      try reader.read("grid", at: [0, 0], into: larger.narrow(1, start: 1, length: 1))
    }
    #expect(throws: CheckpointError.self) { try reader.read("grid", at: [0, 0], into: Tensor.zeros([1, 1])) }
    #expect(throws: CheckpointError.self) { try reader.read("grid", at: [0], into: Tensor.zeros([1], dtype: .int16)) }
    #expect(throws: CheckpointError.self) { try reader.read("grid", at: [4, 0], into: target) }
  }

  @Test func damagedDataAreFoundByVerify() throws {
    try withCopy(of: "ranks") { folder in
      let url = folder.appendingPathComponent("__1_0.distcp")
      var data = try Data(contentsOf: url)
      let reader = try TorchDistReader(folder)
      let shard = try #require(try reader.description(of: "columns").shards.first { $0.location.file == "__1_0.distcp" })
      // The data of a tensor begin at byte 704 of its archive.
      data[shard.location.offset + 705] ^= 4
      try data.write(to: url)
      let error = #expect(throws: CheckpointError.self) { try TorchDistReader(folder).verify() }
      #expect(error?.description == "\(url.path): shard [0:3, 2:4] of tensor 'columns': it is damaged: its checksum of data/0 is "
        + "wrong")
    }
  }

  /// Files with random damage: an error, or harmless.
  @Test func anyDamageIsAnErrorOrHarmless() throws {
    var generator = SeededGenerator(state: 9)
    try withCopy(of: "single") { folder in
      let url = folder.appendingPathComponent("__0_0.distcp")
      let original = try Data(contentsOf: url)
      var refused = 0
      for round in 0..<150 {
        var data = original
        for _ in 0..<40 {
          let place = Int.random(in: 0..<data.count, using: &generator)
          if data[place] != UInt8(ascii: "Z") { data[place] = UInt8.random(in: 0...255, using: &generator) }
        }
        if round % 5 == 0 { data.removeLast(Int.random(in: 0..<data.count, using: &generator)) }
        try data.write(to: url)
        let reader = try TorchDistReader(folder)
        for entry in reader.metadata.tensors {
          do { _ = try reader.tensor(entry.name) } catch {
            #expect(error is CheckpointError)
            refused += 1
          }
        }
        for object in reader.metadata.objects {
          do { _ = try reader.value(object.name) } catch { #expect(error is CheckpointError) }
        }
      }
      #expect(refused > 150)
    }
  }
}
