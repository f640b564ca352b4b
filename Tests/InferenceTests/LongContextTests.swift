import Checkpoints
import Foundation
import Inference
import Models
import TestSupport
import Testing
import Torch

/// Engines of models whose rotary frequencies depend on how long a sequence is.
@Suite struct LongContextTests {
  private static func withEngine<R>(
    _ name: String, contextLength: Int?, _ body: (Engine, RotaryFixture) async throws -> R
  ) async throws -> R {
    let given = try RotaryFixture(name)
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try given.config.data().write(to: folder.appendingPathComponent("config.json"))
    try FileManager.default.copyItem(
      at: given.folder.url.appendingPathComponent("model.safetensors"), to: folder.appendingPathComponent("model.safetensors"))
    let options = EngineOptions(dtype: .float32, pageSize: 4, maxTotalTokens: 512, chunkedPrefillSize: 8, contextLength: contextLength)
    return try await body(Engine(folder: HuggingFaceFolder(folder), tokenizer: nil, options: options), given)
  }

  /// With a context past the original one, sequences have the frequencies of that, however short they are by now.
  @Test(arguments: ["longrope", "dynamic"]) func pastTheOriginalContext(_ name: String) async throws {
    try await Self.withEngine(name, contextLength: 40) { engine, given in
      let (tokens, wanted) = (try #require(given.sequences.last).map(Int.init), try #require(given.logProbs.last))
      #expect(tokens.count == 40)
      for count in [9, 39] {
        var sampling = SamplingParameters()
        (sampling.temperature, sampling.maxNewTokens) = (0, 1)
        let output = try await engine.generate(
          GenerateRequest(
            id: "\(count)", tokens: Array(tokens.prefix(count)), sampling: sampling, returnLogProbs: true, logProbStart: 0))
        let found = output.inputLogProbs.compactMap(\.logProb)
        #expect(found.count == count - 1 && zip(found, wanted).allSatisfy { abs($0 - $1) <= 1e-4 }, "\(count)")
      }
      let status = try await engine.status()
      #expect(status.contextLength == 40)
    }
  }

  /// Without a word about it, the engine stops at the original context.
  @Test func theOriginalContext() async throws {
    try await Self.withEngine("longrope", contextLength: nil) { engine, given in
      let status = try await engine.status()
      #expect(status.contextLength == 12)
      let request = GenerateRequest(id: "a", tokens: given.sequences.last!.map(Int.init), sampling: SamplingParameters())
      await #expect(throws: InvalidRequest.self) { try await engine.generate(request) }
    }
  }
}
