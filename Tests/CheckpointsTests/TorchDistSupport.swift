import Checkpoints
import Foundation
import JSON
import TestSupport
import Testing
import Torch

/// The bytes that the fixtures' tensors have: CRC-32 of the name + 7 k, of a boolean one its lowest bit.
func pattern(_ name: String, _ dtype: DType, _ shape: [Int]) -> [UInt8] {
  let first = Int(Array(name.utf8).withUnsafeBytes { CRC32.checksum($0) })
  return (0..<shape.reduce(dtype.size, *)).map { k in
    let byte = UInt8((first + 7 * k) % 256)
    return dtype == .bool ? byte & 1 : byte
  }
}

func filled(_ name: String, _ dtype: DType, _ shape: [Int]) -> Tensor {
  HostTensor(dtype: dtype, shape: shape, bytes: pattern(name, dtype, shape)).tensor()
}

/// A box of a tensor, copied element by element.
func cut(_ box: TensorBox, of bytes: [UInt8], _ shape: [Int], elementSize: Int) -> [UInt8] {
  var result: [UInt8] = []
  func visit(_ dimension: Int, _ place: Int) {
    if dimension == shape.count { return result += bytes[place * elementSize..<(place + 1) * elementSize] }
    for i in 0..<box.sizes[dimension] { visit(dimension + 1, place * shape[dimension] + box.offsets[dimension] + i) }
  }
  visit(0, 0)
  return result
}

func bytes(_ tensor: Tensor) -> [UInt8] { tensor.withBytes { Array($0) } }

func torchDistFixture(_ name: String) -> URL { fixture("torch_dist/" + name) }

func readJSON(_ name: String) throws -> JSONValue { try JSONValue(parsing: Data(contentsOf: torchDistFixture(name))) }

/// A copy of a checkpoint's folder, to damage.
func withCopy<Result>(of name: String, _ body: (URL) throws -> Result) throws -> Result {
  try withTemporaryFolder { parent in
    let copy = parent.appendingPathComponent("copy")
    try FileManager.default.copyItem(at: torchDistFixture(name), to: copy)
    return try body(copy)
  }
}
