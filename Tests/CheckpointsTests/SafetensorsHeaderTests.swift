import Checkpoints
import Foundation
import JSON
import TestSupport
import Testing

private let anyFile = URL(fileURLWithPath: "model.safetensors")

private func parse(_ bytes: [UInt8]) throws -> SafetensorsHeader {
  try bytes.withUnsafeBytes { try SafetensorsHeader(parsing: $0, of: anyFile) }
}

@Suite struct SafetensorsHeaderTests {
  /// Files by hand and 500 random mutations: accepted and refused as by the format's reference implementation.
  @Test func acceptsWhatTheReferenceAccepts() throws {
    let text = try Data(contentsOf: fixture("safetensors/verdicts.json"))
    let cases = try #require(JSONValue(parsing: text).array)
    var accepted = 0
    for item in cases {
      let name = try #require(item.array?[0].string)
      let data = try #require(item.array?[1].string.flatMap { Data(base64Encoded: $0) })
      let isAccepted = (try? parse([UInt8](data))) != nil
      #expect(isAccepted == item.array?[2].bool, "\(name): \(String(decoding: data, as: UTF8.self))")
      accepted += isAccepted ? 1 : 0
    }
    #expect(accepted > 20 && accepted < cases.count - 20)
  }

  @Test func anyDamageIsAnErrorOrHarmless() throws {
    let original = try [UInt8](Data(contentsOf: fixture("safetensors/every-dtype.safetensors")))
    var generator = SeededGenerator(state: 7)
    for _ in 0..<5000 {
      var bytes = original
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
        default: bytes.removeLast(min(bytes.count, Int.random(in: 0..<2000, using: &generator)))
        }
        if bytes.isEmpty { break }
      }
      do {
        for tensor in try parse(bytes).tensors { #expect(tensor.byteRange.upperBound <= bytes.count) }
      } catch {
        #expect(error is CheckpointError)
      }
    }
  }

  @Test(arguments: [
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4,
      "tensor 'a' has 4 bytes, but shape [2] with dtype F32 needs 8"
    ),
    (
      #"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#, 4,
      "tensor 'a' has the unknown dtype 'F33'"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4,
      "tensor 'a' should end at byte 70 but the file ends after 66; it is truncated"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 5,
      "1 bytes at its end belong to no tensor"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8,
      "tensor 'a' begins at byte 66, not at 62: it leaves a hole before it"
    ),
    (
      #"{"a":1"#, 0,
      "its header is corrupt: invalid JSON at byte 6: ',' or '}' is missing in an object"
    ),
  ])
  func messagesNameFileAndTensor(header: String, dataCount: Int, message: String) throws {
    let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
    let error = #expect(throws: CheckpointError.self) {
      try parse(length + Array(header.utf8) + [UInt8](repeating: 0, count: dataCount))
    }
    #expect(error?.description == "\(anyFile.path): \(message)")
  }
}
