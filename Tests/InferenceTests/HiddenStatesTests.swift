import Checkpoints
import Inference
import Models
import TestSupport
import Testing
import Torch

/// Hidden states that an engine returns against those of whole sequences, computed anew.
@Suite struct HiddenStatesTests {
  private enum Drafts: CaseIterable { case none, chains, trees }

  private static func requests(_ count: Int, seed: UInt64) -> [GenerateRequest] {
    var requests = randomRequests(count, seed: seed, longestPrompt: 20)
    for i in requests.indices {
      // Room is reserved only for what requests are expected to use.
      (requests[i].sampling.maxNewTokens, requests[i].sampling.minNewTokens, requests[i].sampling.ignoreEOS) = (40, 35, false)
      requests[i].hiddenStates = [.all, .last, nil][i % 3]
      if i >= count / 2 { requests[i].tokens = requests[i - count / 2].tokens }
    }
    return requests
  }

  private static func check(_ outputs: [GenerateOutput], _ requests: [GenerateRequest], _ reference: ReferenceModel) throws {
    for (request, output) in zip(requests, outputs) {
      guard let wanted = request.hiddenStates else {
        #expect(output.hiddenStates == nil)
        continue
      }
      let found = try #require(output.hiddenStates)
      let tokens = request.tokens + output.outputTokens.dropLast()
      let first = wanted == .all ? 0 : request.tokens.count - 1
      let all = reference.hidden(tokens)
      #expect(found.promptCount == request.tokens.count - first && found.size == all.size(1))
      #expect(found.rows.count == tokens.count - first)
      let rows = Tensor(found.rows.flatMap { $0 }).view([found.rows.count, found.size])
      let error = (rows - all.narrow(0, start: first, length: tokens.count - first)).abs().max().item()
      #expect(error < 1e-4, "\(request.id): largest difference \(error)")
    }
  }

  @Test func areThoseOfWholeSequences() async throws {
    let folder = try modelFolder("qwen3-tied")
    let reference = try ReferenceModel(folder)
    let requests = Self.requests(24, seed: 71)
    let plain = try await generateAll(Engine(folder: folder, tokenizer: nil), requests.map {
      var request = $0
      request.hiddenStates = nil
      return request
    })
    for drafts in Drafts.allCases {
      for (page, tokens, chunk) in [(4, nil, 256), (1, nil, 16), (2, 90, 20)] as [(Int, Int?, Int)] {
        var options = SpeculativeEngineTests.options(
          page: page, tokens: tokens, chunk: chunk, draftTokens: drafts == .none ? nil : 6)
        options.makeDrafter = { ScriptedDrafter(.mixed, plain, vocabulary: 97, branches: drafts == .trees) }
        options.returnsHiddenStates = true
        let engine = try Engine(folder: folder, tokenizer: nil, options: options)
        // The second time, prompts are cached: what is asked for is computed again.
        for _ in 0..<2 {
          let outputs = try await generateAll(engine, requests)
          for (found, wanted) in zip(outputs, plain) { #expect(found.outputTokens == wanted.outputTokens) }
          if tokens != nil { #expect(outputs.contains { $0.retractions > 0 }) }
          try Self.check(outputs, requests, reference)
        }
        try await expectIdle(engine)
      }
    }
  }

  @Test func needTheOption() async throws {
    let engine = try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil)
    var request = GenerateRequest(id: "a", tokens: [1, 2])
    request.hiddenStates = .all
    let error = await #expect(throws: InvalidRequest.self) { try await engine.generate(request) }
    #expect(error?.description.contains("--enable-return-hidden-states") == true)
  }
}

extension ReferenceModel {
  /// `[tokens.count, hiddenSize]`
  func hidden(_ tokens: [Int]) -> Tensor {
    withoutGradients {
      model.hidden(
        Tensor(tokens),
        ForwardContext(positions: .arange(tokens.count), attention: PackedAttention(lengths: [tokens.count], device: .cpu)))
    }
  }
}
