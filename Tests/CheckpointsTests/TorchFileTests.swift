import Checkpoints
import Foundation
import JSON
import TestSupport
import Testing
import Torch

@Suite struct TorchFileTests {
  private static let types: [DType] = [
    .float64, .float32, .float16, .bfloat16, .float8e5m2, .float8e4m3, .int64, .int32, .int16, .int8, .uint8, .bool,
  ]

  /// What the fixture's script put into common.pt.
  private var common: PickleValue {
    let namespace: PickleValue = [
      "num_layers": 2, "hidden_size": 64, "lr": 1e-6, "load": .null, "bf16": true,
      "params_dtype": .global(PickleGlobal("torch", "bfloat16")), "betas": .tuple([0.9, 0.98]), "data_path": ["a", "b"],
    ]
    let edges = [
      -1, -128, -129, -32769, -1 << 31, -1 << 31 - 1, Int.min, 255, 256, 65535, 65536, 1 << 31 - 1, 1 << 31, Int.max,
    ]
    func number(_ dtype: DType, _ shape: [Int], _ bytes: [UInt8]) -> PickleValue {
      .tensor(HostTensor(dtype: dtype, shape: shape, bytes: bytes))
    }
    return [
      "args": .object(PickleObject(PickleGlobal("argparse", "Namespace"), construction: .new, state: namespace)),
      "checkpoint_version": 3.0,
      "iteration": 100,
      "num_floating_point_operations_so_far": 1_500_000_000_000_000_000,
      "seed": .largeInt([255, 255, 255, 255, 255, 255, 255, 255, 0]),
      "negative": .list(edges.map { .int($0) }),
      "opt_param_scheduler": [
        "max_lr": 1e-6, "lr_decay_style": "constant", "num_steps": 12800, "ratio": .double(.infinity),
      ],
      "rng": number(.uint8, [20], Array(0..<20)),
      "scalars": [
        number(.float32, [], [0, 0, 0xC0, 0x3F]), number(.bool, [], [1]),
        number(.int32, [2, 2], [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0]),
      ],
      "types": .list(Self.types.map { number($0, [2], pattern("torch." + $0.name, $0, [2])) }),
      "bytes": .bytes([0, 255, 128]),
      "empty": [
        "tuple": .tuple([]), "list": [], "dict": [:], "str": "", "bytes": .bytes([]),
        "tensor": number(.float32, [0, 2], []),
      ],
      "one": ["list": [1], "set": .set([1]), "dict": [2: 3]],
      "text": .string("café \u{1F600}" + String(repeating: "x", count: 300)),
    ]
  }

  @Test func readsWhatPyTorchSaved() throws {
    let value = try MegatronFormat.readCommon(in: torchDistFixture(""))
    #expect(value == common)
    #expect(value["iteration"]?.int == 100)
    #expect(value["args"]?.object?["hidden_size"]?.int == 64)
    #expect(value["args"]?.object?["lr"]?.double == 1e-6)
    #expect(value["scalars"]?.array?[2].tensor?.tensor().array(Int32.self) == [1, 2, 3, 4])
  }

  @Test func writesTheBytesThatPyTorchWrites() throws {
    try withTemporaryFolder { folder in
      try MegatronFormat.writeCommon(common, to: folder)
      let written = try Data(contentsOf: folder.appendingPathComponent("common.pt"))
      #expect(written == (try Data(contentsOf: torchDistFixture("common.pt"))))
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["common.pt"])
    }
  }

  /// With any number of storages, also where PyTorch's fingerprint of the names goes over several sizes of a hash table.
  @Test func archivesOfManyTensors() throws {
    let cases = try #require(try readJSON("archives.json").array)
    #expect(cases.count == 11)
    for item in cases {
      let count = try #require(item["tensors"]?.int)
      let tensors = (0..<count).map { PickleValue.tensor(HostTensor(dtype: .uint8, shape: [1], bytes: [UInt8($0)])) }
      let bytes = try SavedObject(name: "x", value: .list(tensors)).bytes
      #expect(bytes.count == item["length"]?.int, "\(count) tensors")
      #expect(Int(bytes.withUnsafeBytes { CRC32.checksum($0) }) == item["crc32"]?.int, "\(count) tensors")
    }
  }

  @Test func checksumsOfAnyLength() {
    // The value of "123456789" is part of the checksum's definition; the rest follows from the slow way to compute it.
    #expect(Array("123456789".utf8).withUnsafeBytes { CRC32.checksum($0) } == 0xCBF4_3926)
    var generator = SeededGenerator(state: 5)
    for count in [0, 1, 15, 16, 17, 31, 32, 33, 100, 1000] {
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
      var slow = UInt32.max
      for byte in bytes {
        slow ^= UInt32(byte)
        for _ in 0..<8 { slow = slow & 1 == 0 ? slow >> 1 : (slow >> 1) ^ 0xEDB8_8320 }
      }
      var crc = CRC32()
      let middle = count / 3
      bytes[..<middle].withUnsafeBytes { crc.update($0) }
      bytes[middle...].withUnsafeBytes { crc.update($0) }
      #expect(crc.value == ~slow)
    }
  }

  /// What stands around the data of an archive beyond 4 GiB, as PyTorch wrote it.
  @Test func archivesBeyondFourGibibytes() throws {
    let item = try readJSON("zip64.json")
    func hex(_ key: String) throws -> [UInt8] {
      let digits = Array(try #require(item[key]?.string))
      return stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16)! }
    }
    let (head, tail) = (try hex("head"), try hex("tail"))
    let size = try #require(item["size"]?.int)
    let offset = try #require(head.indices.last { head[$0...].starts(with: [0x50, 0x4B, 3, 4]) })
    #expect(ZipFormat.localHeader(name: "big/data/0", offset: offset, byteCount: size) == Array(head[offset...]))

    // The entries, in the order of the file. Those before the data are small, and read from the head.
    var entries: [ZipFormat.Entry] = []
    for start in head.indices where head[start...].starts(with: [0x50, 0x4B, 3, 4]) && start < offset {
      let nameCount = Int(head[start + 26])
      let name = String(decoding: head[start + 30..<start + 30 + nameCount], as: UTF8.self)
      let begin = (start + 30 + nameCount + Int(head[start + 28]) + Int(head[start + 29]) << 8)
      let end = try #require(head[begin...].indices.first { head[$0...].starts(with: [0x50, 0x4B, 7, 8]) })
      let checksum = head[begin..<end].withUnsafeBytes { CRC32.checksum($0) }
      entries.append(ZipFormat.Entry(name: name, offset: start, byteCount: end - begin, checksum: checksum))
    }
    #expect(entries.map(\.name) == ["data.pkl", ".format_version", ".storage_alignment", "byteorder"].map { "big/" + $0 })
    let big = ZipFormat.Entry(
      name: "big/data/0", offset: offset, byteCount: size, checksum: UInt32(try #require(item["crc32"]?.int)))
    entries.append(big)
    var made = ZipFormat.descriptor(of: big)
    let begin = head.count + size
    func add(_ name: String, _ data: [UInt8]) {
      var entry = ZipFormat.Entry(
        name: "big/" + name, offset: begin + made.count, byteCount: data.count,
        checksum: data.withUnsafeBytes { CRC32.checksum($0) })
      entry.offset = begin + made.count
      made += ZipFormat.localHeader(name: entry.name, offset: entry.offset, byteCount: entry.byteCount) + data
      made += ZipFormat.descriptor(of: entry)
      entries.append(entry)
    }
    add("data/1", [0, 0, 0x80, 0x3F, 0, 0, 0x80, 0x3F, 0, 0, 0x80, 0x3F])
    add("version", Array("3\n".utf8))
    let records = entries.map { (name: String($0.name.dropFirst(4)), checksum: UInt32?.some($0.checksum)) }
    add(".data/serialization_id", Array(SerializationID.digits(of: records).utf8))
    made += ZipFormat.directory(of: entries, at: begin + made.count)
    #expect(made == tail)

    // And back: a file with a hole in place of the data, which takes no room on the disk.
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("big.pt")
      try Data(head).write(to: url)
      let file = try FileHandle(forWritingTo: url)
      try file.truncate(atOffset: UInt64(begin))
      try file.seekToEnd()
      try file.write(contentsOf: tail)
      try file.close()
      let names = try TorchFile.entries(of: url)
      #expect(names["data/0"] == size)
      #expect(names["data/1"] == 12)
      #expect(names.count == entries.count)
    }
  }

  @Test func saysWhatIsWrongWithAFile() throws {
    let original = [UInt8](try Data(contentsOf: torchDistFixture("common.pt")))
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("common.pt")
      func message(_ bytes: [UInt8]) -> String? {
        #expect(throws: CheckpointError.self) {
          try Data(bytes).write(to: url)
          _ = try TorchFile.read(url)
        }?.description
      }
      #expect(message(Array(original.dropLast(30)))
        == "\(url.path): it is truncated or corrupt: the zip directory at its end is missing")
      #expect(message(Array("not a zip".utf8)) == "\(url.path): it does not begin as a zip archive does")
      var changed = original
      changed[100] ^= 1
      #expect(message(changed) == "\(url.path): its entry 'data.pkl' has not the checksum that it should have")
    }
    let unknown = PickleValue.object(PickleObject(PickleGlobal("project.config", "Config"), construction: .new))
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("common.pt")
      try TorchFile.write(["config": unknown], to: url)
      let error = #expect(throws: CheckpointError.self) { try TorchFile.read(url) }
      #expect(error?.description == "\(url.path): the pickle names 'project.config.Config', which is not allowed in such a file")
      let more = PickleAllowList.torchSave.adding([PickleGlobal("project.config", "Config")])
      #expect(try TorchFile.read(url, allowing: more)["config"] == unknown)
    }
  }
}
