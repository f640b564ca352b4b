import Foundation
import Inference
import TestSupport
import Testing
import Torch
import WeightSync

@Suite struct PickledTensorsTests {
  static func weights() -> [(name: String, tensor: Tensor)] {
    let generator = Generator(seed: 4)
    let shapes = [[3, 5], [7], [], [0, 4], [2, 3, 4]]
    let dtypes: [DType] = [.float32, .bfloat16, .float64, .float16, .float8e4m3]
    return zip(shapes, dtypes).enumerated().map { index, part in
      ("w\(index)", Tensor.randn(part.0, generator: generator).to(dtype: part.1))
    } + [("i", Tensor([1, -2, 3] as [Int64]))]
  }

  @Test func whatIsWrittenIsRead() throws {
    let weights = Self.weights()
    let read = try PickledTensors.named(PickledTensors.pickle(weights))
    #expect(read.map(\.name) == weights.map(\.name))
    for (found, sent) in zip(read, weights) {
      #expect(found.dtype == sent.tensor.dtype && found.shape == sent.tensor.shape)
      #expect(found.bytes == sent.tensor.withBytes { Data($0) }, "\(sent.name)")
    }
  }

  /// Written by Python (Scripts/make_pickle_fixtures.py): plain, transposed and repeated tensors of every protocol.
  @Test(arguments: ["protocol2", "protocol4", "protocol5", "flattened"])
  func pythonsPickles(name: String) throws {
    let data = try Data(contentsOf: fixture("WeightSync/\(name).pickle"))
    let read = try name == "flattened" ? PickledTensors.flattened(data) : PickledTensors.named(data)
    var byName: [String: NamedBytes] = [:]
    for weight in read { byName[weight.name] = weight }
    func floats(_ name: String) -> [Float] { byName[name]!.bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) } }
    #expect(floats("rows") == [0, 1, 2, 3, 4, 5] && byName["rows"]!.shape == [2, 3])
    #expect(byName["half"]!.dtype == .bfloat16 && Array(byName["half"]!.bytes) == [0x80, 0x3F, 0x00, 0xC0])
    guard name != "flattened" else { return }
    #expect(floats("transposed") == [0, 3, 1, 4, 2, 5] && byName["transposed"]!.shape == [3, 2])
    #expect(floats("slice") == [4, 5] && floats("repeated") == [0, 0, 0, 0] && byName["repeated"]!.shape == [4])
    #expect(floats("parameter") == [7] && byName["empty"]!.bytes.isEmpty)
  }

  @Test func sentencesOfWhatIsWrong() throws {
    for (bytes, words) in [
      (Array("cos\nsystem\n(S'true'\ntR.".utf8), "os.system"), ([0x80, 4, 0x4E, 0x2E], "None"), ([], "truncated"),
      ([0x80, 4, 0x5D, 0x4B, 1, 0x61, 0x2E], "(name, tensor) pair"),
    ] as [([UInt8], String)] {
      let error = #expect(throws: WeightSyncError.self) { try PickledTensors.named(Data(bytes)) }
      #expect(try #require(error).description.contains(words), "\(String(describing: error))")
    }
  }

  /// No input stops the process, and what is read has the bytes that its shape asks for.
  @Test(arguments: 0..<4)
  func damagedPickles(seed: UInt64) throws {
    var generator = SeededGenerator(state: seed)
    var pickles = [try PickledTensors.pickle(Self.weights())]
    for name in ["protocol2", "protocol4", "protocol5", "flattened", "shared", "descriptor", "cuda"] {
      pickles.append(try Data(contentsOf: fixture("WeightSync/\(name).pickle")))
    }
    var failures = 0
    for round in 0..<3000 {
      var data = pickles[round % pickles.count]
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let at = Int.random(in: 0..<data.count, using: &generator)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: data[at] = UInt8.random(in: 0...255, using: &generator)
        case 1: data[at] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 2: data = Data(data.prefix(max(1, at)))
        case 3: data.insert(UInt8.random(in: 0...255, using: &generator), at: at)
        default:
          let end = min(data.count, at + 12)
          data.replaceSubrange(at..<end, with: Data(data[at..<end].reversed()))
        }
      }
      for read in [PickledTensors.named, PickledTensors.flattened] {
        do {
          for weight in try read(data) { #expect(weight.bytes.count == weight.shape.reduce(weight.dtype.size, *)) }
        } catch { failures += 1 }
      }
    }
    #expect(failures > 3000)
  }
}
