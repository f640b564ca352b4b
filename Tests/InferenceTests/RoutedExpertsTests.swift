import Foundation
import Inference
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// The experts that an engine reports are those that the model, run whole over the same tokens, sends them to.
@Suite struct RoutedExpertsTests {
  @Test(arguments: [(1, 1, nil), (16, 7, nil), (16, 64, 40)] as [(Int, Int, Int?)])
  func areThoseOfOnePass(running: Int, chunk: Int, tokens: Int?) async throws {
    let folder = try modelFolder("qwen3-moe")
    var requests = randomRequests(16, seed: 5, vocabulary: 61, longestPrompt: 12)
    for i in requests.indices where i % 4 != 0 { requests[i].routedExpertsStart = i % 3 == 0 ? requests[i].tokens.count / 2 : 0 }
    let engine = try Engine(
      folder: folder, tokenizer: nil,
      options: EngineOptions(
        pageSize: 2, maxTotalTokens: tokens, maxRunningRequests: running, chunkedPrefillSize: chunk,
        scheduleConservativeness: 0.1))
    let outputs = try await generateAll(engine, requests)
    if tokens != nil { #expect(outputs.contains { $0.retractions > 0 }, "no retraction was forced") }
    let reference = try ReferenceModel(folder)
    for (request, output) in zip(requests, outputs) {
      guard let start = request.routedExpertsStart else {
        #expect(output.routedExperts == nil)
        continue
      }
      let wanted = reference.experts(request.tokens + output.outputTokens).dropFirst(start)
      #expect(output.routedExperts.map(int32) == Array(wanted.joined()), "\(request.id)")
    }
  }

  @Test func needAModelThatHasSome() async throws {
    let engine = try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil)
    let request = GenerateRequest(id: "a", tokens: [1, 2], routedExpertsStart: 0)
    let error = await #expect(throws: InvalidRequest.self) { try await engine.generate(request) }
    #expect(error?.description.contains("has none") == true)
  }
}

private func int32(_ data: Data) -> [Int32] {
  data.withUnsafeBytes { bytes in (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Int32.self) } }
}

extension ReferenceModel {
  /// Of each token but the last: all layers' experts.
  fileprivate func experts(_ tokens: [Int]) -> [[Int32]] {
    withoutGradients {
      let record = RoutingRecord()
      _ = model.hidden(
        Tensor(tokens),
        ForwardContext(
          positions: .arange(tokens.count), attention: PackedAttention(lengths: [tokens.count], device: .cpu), routing: record))
      let all = record.stacked(layerCount: model.configuration.layerCount)!
      return (0..<tokens.count - 1).map { all[$0].flatten().array() }
    }
  }
}
