import Checkpoints
import Foundation
import JSON
import TestSupport
import Testing
import Torch

/// What we write, read by PyTorch itself. The other tests compare with what PyTorch wrote, and need no Python.
@Suite struct TorchDistPythonTests {
  private static let python = ProcessInfo.processInfo.environment["SLIME_TEST_PYTHON"]

  @Test(
    .enabled(if: python != nil, "skipped: SLIME_TEST_PYTHON does not name a Python that has torch"), arguments: [1000, 1001])
  func pyTorchReadsWhatWeWrite(seed: Int) throws {
    var generator = SeededGenerator(state: UInt64(seed))
    try withTemporaryFolder { folder in
      let directory = CheckpointDirectory(folder)
      let save = try TorchDistSave.begin(in: directory, iteration: 7)
      let tensors = (0..<30).map { TorchDistFuzzTests.randomTensor("layers.\($0).weight", using: &generator) }
      var contents = try TorchDistFuzzTests.write(tensors, to: save.folder, using: &generator)
      let random: PickleValue = ["state": .tensor(HostTensor(filled("state", .uint8, [5]))), "calls": 3]
      contents.append(try save.write([
        .value("rng_state/shard_0_1", .list([random])),
        .tensor("optimizer.step", Tensor(8, dtype: .int64), path: ["optimizer", "step"]),
      ], rank: 99))
      try save.finish(contents, common: ["iteration": 7, "args": ["lr": 1e-6], "rng": random])

      let script = fixture("").deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Scripts/check_torch_dist.py")
      let process = Process()
      process.executableURL = URL(fileURLWithPath: Self.python!)
      process.arguments = [script.path, directory.folder(iteration: 7).path]
      let pipe = Pipe()
      process.standardOutput = pipe
      try process.run()
      let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
      process.waitUntilExit()
      #expect(process.terminationStatus == 0)
      let lines = try String(decoding: output, as: UTF8.self).split(separator: "\n").map {
        try JSONValue(parsing: Data($0.utf8))
      }
      #expect(lines.count == tensors.count + 4)
      for tensor in tensors {
        let line = try #require(lines.first { $0["name"]?.string == tensor.name })
        #expect(line["dtype"]?.string == tensor.dtype.name)
        #expect(line["shape"]?.array?.map(\.int) == tensor.shape)
        #expect(line["shards"]?.int == (tensor.boxes.count))
        #expect(line["crc32"]?.int == Int(tensor.bytes.withUnsafeBytes { CRC32.checksum($0) }))
      }
      let object = try #require(lines.first { $0["name"]?.string == "rng_state/shard_0_1" }?["object"]?.string)
      #expect(object.hasPrefix("[{'state': tensor([") && object.hasSuffix("dtype=torch.uint8), 'calls': 3}]"))
      let common = try #require(lines.first { $0["file"]?.string == "common.pt" }?["value"]?.string)
      #expect(common.hasPrefix("{'iteration': 7, 'args': {'lr': 1e-06}, 'rng': {'state': tensor(["))
    }
  }
}
