import Checkpoints
import Foundation
import Inference
import TestSupport
import Testing
import Torch

/// Deterministic mode on a GPU in bf16, by kernels of ours and recorded steps: the same bits whatever else runs, and those of
/// trainers.
@Suite(.serialized, .onGPU) struct DeterminismOnGPUTests {
  private static let vocabulary = 1024

  private func withModel(hasExperts: Bool, _ body: (URL, Device) async throws -> Void) async throws {
    let device = try GPU.open()
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try EngineOnGPUTests.writeModel(hasExperts: hasExperts, to: folder)
    Runtime.setDeterministic(true)
    defer { Runtime.setDeterministic(false) }
    try await body(folder, device)
  }

  @Test(arguments: [false, true]) func nothingElseMatters(hasExperts: Bool) async throws {
    try await withModel(hasExperts: hasExperts) { url, device in
      let requests = DeterministicEngineTests.requests(12, seed: 7, vocabulary: Self.vocabulary)
      try await DeterministicEngineTests.expectNothingElseMatters(HuggingFaceFolder(url), requests, .bfloat16, device: device)
    }
  }

  @Test(arguments: [false, true]) func trainersComputeWhatTheEngineSampledWith(hasExperts: Bool) async throws {
    try await withModel(hasExperts: hasExperts) { url, device in
      let outputs = try await EngineAndTrainerTests.samples(
        HuggingFaceFolder(url), .bfloat16, vocabulary: Self.vocabulary, device: device)
      let sequences = outputs.enumerated().map { i, output in
        (EngineAndTrainerTests.prompt(i, Self.vocabulary) + output.outputTokens).map { Int32($0) }
      }
      let wanted = outputs.map { ($0.inputLogProbs.dropFirst() + $0.outputLogProbs).map { $0.logProb!.bitPattern } }
      for trainer in [EngineAndTrainerTests.Trainer(), .init(tokensPerPack: 90), .init(isFSDP: true, tokensPerPack: 1)] {
        let scores = try await EngineAndTrainerTests.scores(url, trainer, .bfloat16, sequences, device: device)
        let isEqual = scores.map { $0.logProbs.map(\.bitPattern) } == wanted
        #expect(isEqual, "\(trainer.testDescription)")
      }
    }
  }

  @Test(arguments: [false, true]) func theDifferenceInTrainingIsZero(hasExperts: Bool) async throws {
    try await withModel(hasExperts: hasExperts) { url, device in
      let differences = try await EngineAndTrainerTests.train(
        url, .bfloat16, vocabulary: Self.vocabulary, isDeterministic: true, device: device)
      #expect(differences == [0, 0, 0])
    }
  }
}
