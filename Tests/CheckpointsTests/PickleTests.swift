import Checkpoints
import Foundation
import JSON
import TestSupport
import Testing

@Suite struct PickleTests {
  /// The value that a fixture describes.
  private func value(_ json: JSONValue) throws -> PickleValue {
    let (kind, content) = try #require(json.object?.pairs.first)
    func list() throws -> [PickleValue] { try #require(content.array).map(value) }
    switch kind {
    case "none": return .null
    case "bool": return .bool(content.bool!)
    case "int": return .int(Int(content.string!)!)
    case "large": return .largeInt([UInt8](Data(base64Encoded: content.string!)!))
    case "float": return .double(Double(bitPattern: UInt64(content.string!, radix: 16)!))
    case "str": return .string(content.string!)
    case "bytes": return .bytes([UInt8](Data(base64Encoded: content.string!)!))
    case "list": return .list(try list())
    case "tuple": return .tuple(try list())
    case "set", "frozenset": return .set(try list())
    case "dict":
      return .dictionary(try content.array!.map { PicklePair(try value($0.array![0]), try value($0.array![1])) })
    case "recipe": return recipe(content.array![0].string!, content.array![1].int!)
    default: throw CheckpointError("a fixture of the unknown kind \(kind)")
    }
  }

  private func recipe(_ kind: String, _ n: Int) -> PickleValue {
    switch kind {
    case "range": .list((0..<n).map { .int($0) })
    case "map": .dictionary((0..<n).map { PicklePair(.int($0), .int($0)) })
    case "text": .string(String(repeating: "z", count: n))
    case "pairs": .list((0..<n).map { [.int($0), .double(Double($0))] })
    default: [.string(String(repeating: "z", count: n)), .bytes(Array(repeating: UInt8(ascii: "q"), count: n)), "end"]
    }
  }

  /// Sets have no order of their own.
  private func sorted(_ value: PickleValue) -> PickleValue {
    if case .set(let items) = value { .set(items.sorted { $0.int! < $1.int! }) } else { value }
  }

  private func read(_ bytes: [UInt8], allowing allowed: PickleAllowList = .torchSave) throws -> PickleValue {
    try bytes.withUnsafeBytes { try PickleReader.value(of: $0, allowing: allowed) }
  }

  /// 55 values, among them random ones and large ones: read from protocols 2 to 5, and written in protocols 2 and 4 to the
  /// byte as Python does.
  @Test func readsAndWritesWhatPythonWrites() throws {
    let cases = try #require(try readJSON("pickles.json")["cases"]?.array)
    #expect(cases.count == 55)
    var readCount = 0
    for (number, item) in cases.enumerated() {
      let expected = try value(try #require(item["value"]))
      for version in 2...5 {
        guard let text = item["bytes\(version)"]?.string else { continue }
        let bytes = [UInt8](try #require(Data(base64Encoded: text)))
        #expect(try sorted(read(bytes)) == sorted(expected), "case \(number), protocol \(version)")
        readCount += 1
      }
      if case .set = expected { continue }
      for version in [PickleWriter.Version.two, .four] {
        let sum = try #require(item["sum\(version.rawValue)"]?.array)
        let bytes = try PickleWriter.bytes(of: expected, version)
        #expect(bytes.count == sum[0].int, "case \(number), protocol \(version)")
        #expect(Int(bytes.withUnsafeBytes { CRC32.checksum($0) }) == sum[1].int, "case \(number), protocol \(version)")
        #expect(try read(bytes) == expected)
      }
    }
    #expect(readCount > 150)
  }

  @Test func namesWhatIsNotAllowed() throws {
    let cases = try #require(try readJSON("pickles.json")["refused"]?.array)
    #expect(cases.count == 8)
    for item in cases {
      let bytes = [UInt8](try #require(item["bytes"]?.string.flatMap { Data(base64Encoded: $0) }))
      let name = try #require(item["name"]?.string)
      let error = #expect(throws: PickleError.self) { try read(bytes) }
      #expect(error?.problem == "the pickle names '\(name)', which is not allowed in such a file")
      let (module, function) = try #require(name.lastIndex(of: ".").map { (name[..<$0], name[$0...].dropFirst()) })
      let more = PickleAllowList.torchSave.adding([PickleGlobal(String(module), String(function))])
      // Even then it is only described.
      let called = try read(bytes, allowing: more)
      #expect(called.array?[1].object?.function.description == name)
    }
  }

  @Test(arguments: [
    ([0x80, 2], "the pickle is truncated: it ends after 2 bytes"),
    ([0x80, 9, 0x4E, 0x2E], "the pickle has protocol 9; at most 5 is supported"),
    ([0x80, 2, 0x4E, 0x4E, 0x2E], "the pickle is corrupt at byte 5: it ends with 2 values instead of one"),
    ([0x80, 2, 0x4E, 0x2E, 0x4E], "the pickle is corrupt at byte 4: 1 bytes follow its end"),
    ([0x80, 2, 0x69, 0x2E], "the pickle has the instruction 105 at byte 2, which is not supported"),
    ([0x80, 2, 0x68, 7, 0x2E], "the pickle is corrupt at byte 4: it refers to value 7, which it has not made"),
    // A list that is appended to itself.
    ([0x80, 2, 0x5D, 0x71, 0, 0x68, 0, 0x61, 0x2E], "the pickle holds a value that contains itself"),
    ([0x80, 4, 0x8C, 2, 0xFF, 0xFE, 0x2E], "the pickle has text at byte 4 that is not UTF-8"),
    (
      [0x80, 2, 0x7D, 0x4B, 1, 0x4E, 0x73, 0x4B, 1, 0x4E, 0x73, 0x2E],
      "the pickle holds a dictionary that has a key twice"
    ),
  ] as [([UInt8], String)])
  func saysWhatIsWrong(bytes: [UInt8], problem: String) throws {
    let error = #expect(throws: PickleError.self) { try read(bytes) }
    #expect(error?.problem == problem)
  }

  @Test func smallPicklesOfEndlessValuesAreRefused() throws {
    // A tuple of two times a tuple of two times …: 2^60 values in a few hundred bytes.
    var doubling: [UInt8] = [0x80, 4, 0x4E]
    for i in 0..<60 { doubling += [0x94, 0x68, UInt8(i), 0x86] }
    let many = #expect(throws: PickleError.self) { try read(doubling + [0x2E]) }
    #expect(many?.problem == "the pickle stands for more than 1048576 values")
    // A million lists in each other.
    let deep = [0x80, 4, 0x4E] + [UInt8](repeating: 0x85, count: 1_000_000) + [0x2E]
    let nested = #expect(throws: PickleError.self) { try read(deep) }
    #expect(nested?.problem == "the pickle nests values more than 200 deep")
  }

  @Test func anyDamageIsAnErrorOrHarmless() throws {
    var generator = SeededGenerator(state: 11)
    let originals = try ["single/.metadata", "metadata/oldest", "metadata/megatron"].map {
      [UInt8](try Data(contentsOf: torchDistFixture($0)))
    }
    var refused = 0
    for round in 0..<3000 {
      var bytes = originals[round % originals.count]
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        switch Int.random(in: 0..<4, using: &generator) {
        case 0, 1: bytes[place] = UInt8.random(in: 0...255, using: &generator)
        case 2: bytes.remove(at: place)
        default: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
        }
      }
      do {
        _ = try read(bytes, allowing: .checkpointMetadata)
      } catch {
        #expect(error is PickleError)
        refused += 1
      }
    }
    #expect(refused > 1000 && refused < 3000)
  }
}
