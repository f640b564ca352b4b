import Checkpoints
import TestSupport
import Testing
import Torch
import Training

/// `score` on any number of ranks equals the reference of `transformers`, and itself on one rank.
@Test(arguments: [1, 2, 4], [7, 64]) func scoresAreThoseOfTransformers(ranks: Int, tokensPerPack: Int) async throws {
  let url = fixture("models/qwen3-untied-3-heads")
  let reference = try SafetensorsFile(url.appendingPathComponent("reference.safetensors"))
  let tokens: [Int] = try reference.tensor("tokens").array()
  let bounds: [Int] = try reference.tensor("cu_seqlens").array()
  let sequences = zip(bounds, bounds.dropFirst()).map { tokens[$0..<$1].map { Int32($0) } } + [[]]
  let parts = try await runGroup(ranks) { group in
    let options = try TrainingOptions(
      schedule: LearningRateSchedule(peak: 0, decaySteps: 1), globalBatchSize: 1, batching: .fixed(microBatchSize: 1))
    let backend = try FSDPBackend(HuggingFaceFolder(url), options: options, parallel: try dataParallel(group))
    return try PolicyTrainer(backend, options: options).score(sequences, tokensPerPack: tokensPerPack)
  }
  let scored = parts.joined().sorted { $0.index < $1.index }
  #expect(scored.map(\.index) == Array(sequences.indices))
  func close(_ found: [Float], _ wanted: [Float]) -> Bool {
    found.count == wanted.count && zip(found, wanted).allSatisfy { abs($0 - $1) <= 1e-4 }
  }
  #expect(close(scored.flatMap(\.logProbs), try reference.tensor("log_probs").array()))
  #expect(close(scored.flatMap(\.entropy), try reference.tensor("entropy").array()))
}
