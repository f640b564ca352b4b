import Checkpoints
import Foundation
import TestSupport
import Testing

/// Every tensor of a file, as sources for a copy.
func sources(of file: SafetensorsFile) -> [TensorSource] {
  file.tensors.map { tensor in TensorSource(tensor.specification) { try $0(file.bytes(of: tensor)) } }
}

@Suite struct SafetensorsFileTests {
  @Test func readsWhatPythonWrote() throws {
    let file = try SafetensorsFile(fixture("safetensors/every-dtype.safetensors"))
    #expect(file.metadata == ["format": "pt"])
    #expect(file.tensors.count == 18)
    for (k, tensor) in file.tensors.enumerated() {
      #expect(tensor.name == "layer." + tensor.dtype.rawValue)
      #expect(tensor.shape == [2, 3])
      let expected = (0..<6 * tensor.dtype.bits / 8).map { i in
        tensor.dtype == .bool ? UInt8((i + 1) % 2) : UInt8((k + i) % 256)
      }
      #expect(Array(file.bytes(of: tensor)) == expected, "\(tensor.name)")
    }
  }

  @Test(arguments: ["safetensors/every-dtype", "safetensors/odd-names", "models/qwen3-tied/model"])
  func writesTheBytesThatPythonWrites(name: String) throws {
    let original = fixture(name + ".safetensors")
    let file = try SafetensorsFile(original)
    try withTemporaryFolder { folder in
      let copy = folder.appendingPathComponent("copy.safetensors")
      try SafetensorsWriter.write(to: copy, tensors: sources(of: file).shuffled(), metadata: file.metadata)
      #expect(try Data(contentsOf: copy) == Data(contentsOf: original))
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["copy.safetensors"])
    }
  }

  /// What is read into other memory is what the mapping shows, from whatever byte on; a file that was cut since says so.
  @Test func readsIntoOtherMemory() throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("a.safetensors")
      let count = (32 << 20) + 5
      var state: UInt32 = 1
      let bytes = (0..<count).map { _ -> UInt8 in
        state = state &* 1_664_525 &+ 1_013_904_223
        return UInt8(state >> 24)
      }
      let specification = TensorSpecification(name: "x", dtype: .uint8, shape: [count])
      try SafetensorsWriter.write(to: url, tensors: [TensorSource(specification, bytes: bytes)])
      let file = try SafetensorsFile(url)
      let tensor = try file.description(of: "x")
      func read(_ range: Range<Int>) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: range.count + 1) { buffer, filled in
          try file.read(tensor, range, into: UnsafeMutableRawPointer(buffer.baseAddress!))
          filled = range.count
        }
      }
      for range in [0..<count, 1..<17, (16 << 20) - 1..<(16 << 20) + 1, count - 3..<count, 7..<7] {
        #expect(try read(range) == Array(bytes[range]), "\(range)")
      }
      #expect(truncate(url.path, off_t(count / 2)) == 0)
      let error = #expect(throws: CheckpointError.self) { try read(0..<count) }
      #expect(error?.description.contains("a.safetensors: the file ends at byte") == true, "\(error?.description ?? "")")
    }
  }

  @Test func writesInAnyOrderAndOnlyWhole() throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("a.safetensors")
      let specifications = [
        TensorSpecification(name: "x", dtype: .uint8, shape: [3]), TensorSpecification(name: "y", dtype: .int16, shape: [1]),
      ]
      func write(_ name: String, _ bytes: [UInt8], with writer: SafetensorsWriter) throws {
        try bytes.withUnsafeBytes { try writer.write(name, $0) }
      }
      do {
        let writer = try SafetensorsWriter(to: url, tensors: specifications)
        #expect(writer.tensors.map(\.name) == ["y", "x"])
        try write("x", [1, 2, 3], with: writer)
        #expect(throws: CheckpointError.self) { try write("x", [1, 2, 3], with: writer) }
        #expect(throws: CheckpointError.self) { try write("y", [1, 2, 3], with: writer) }
        #expect(throws: CheckpointError.self) { try write("z", [], with: writer) }
        #expect(throws: CheckpointError.self) { try writer.finish() }
        #expect(!FileManager.default.fileExists(atPath: url.path))
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)

      let writer = try SafetensorsWriter(to: url, tensors: specifications, metadata: [:])
      try write("x", [1, 2, 3], with: writer)
      try write("y", [4, 5], with: writer)
      try writer.finish()
      let file = try SafetensorsFile(url)
      #expect(try Array(file.bytes(of: "x")) == [1, 2, 3])
      #expect(try Array(file.bytes(of: "y")) == [4, 5])
    }
  }

  @Test func saysWhatDoesNotFit() throws {
    let url = fixture("safetensors/every-dtype.safetensors")
    let file = try SafetensorsFile(url)
    try file.check("layer.F32", shape: [2, 3], dtype: .float32)
    let wrong = #expect(throws: CheckpointError.self) { try file.check("layer.F32", shape: [3, 2], dtype: .bfloat16) }
    #expect(wrong?.description == "\(url.path): tensor 'layer.F32' is [2, 3] F32, expected [3, 2] BF16")
    let missing = #expect(throws: CheckpointError.self) { try file.bytes(of: "layer.F31") }
    #expect(missing?.description == "\(url.path): there is no tensor 'layer.F31' in this file")
  }

  @Test func refusesDuplicatesAndAbsurdShapes() throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("a.safetensors")
      for names in [["a", "a"], ["__metadata__"]] {
        let tensors = names.map { TensorSpecification(name: $0, dtype: .uint8, shape: []) }
        #expect(throws: CheckpointError.self) { try SafetensorsWriter(to: url, tensors: tensors) }
      }
      for shape in [[-1], [Int.max, 2], [Int.max / 8]] {
        let tensors = [TensorSpecification(name: "a", dtype: .float64, shape: shape)]
        #expect(throws: CheckpointError.self) { try SafetensorsWriter(to: url, tensors: tensors) }
      }
    }
  }

  @Test func refusesWhatIsNoFile() throws {
    #expect(throws: CheckpointError.self) { try SafetensorsFile(fixture("safetensors")) }
    #expect(throws: CheckpointError.self) { try SafetensorsFile(fixture("safetensors/absent.safetensors")) }
    #expect(throws: CheckpointError.self) { try SafetensorsFile(URL(fileURLWithPath: "/dev/null")) }
  }
}
