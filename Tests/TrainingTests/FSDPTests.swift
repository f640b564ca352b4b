import Checkpoints
import Foundation
import Models
import Parallelism
import RLAlgorithms
import TestSupport
import Testing
import Torch
import Training

/// Ten supervised steps against `torch.optim.AdamW` on the same weights and tokens.
@Suite struct FSDPTests {
  struct Layout: Sendable, CustomTestStringConvertible {
    var ranks: Int
    var checkpointing = false
    var tokensPerPack = 10_000
    /// Save after this step and go on with another number of ranks.
    var resumeAfter: Int?
    var offloads = false
    var attention: AttentionImplementation?
    var testDescription: String {
      "\(ranks) ranks, checkpointing \(checkpointing), packs of \(tokensPerPack), resumed after \(resumeAfter ?? 0), "
        + "offloads \(offloads), \(attention?.rawValue ?? "any attention")"
    }
  }

  static let layouts = [
    Layout(ranks: 1), Layout(ranks: 1, checkpointing: true, tokensPerPack: 30), Layout(ranks: 2),
    Layout(ranks: 2, tokensPerPack: 25), Layout(ranks: 4), Layout(ranks: 4, checkpointing: true, tokensPerPack: 200),
    Layout(ranks: 3, tokensPerPack: 40), Layout(ranks: 2, resumeAfter: 4), Layout(ranks: 1, resumeAfter: 7),
    Layout(ranks: 1, offloads: true), Layout(ranks: 2, checkpointing: true, tokensPerPack: 40, offloads: true),
    Layout(ranks: 3, resumeAfter: 5, offloads: true), Layout(ranks: 2, attention: .eager),
  ]

  @Test(arguments: layouts) func tenStepsAreThoseOfPyTorch(_ layout: Layout) async throws {
    let area = fixture("training/adamw10")
    let reference = try SafetensorsFile(area.appendingPathComponent("reference.safetensors"))
    let losses: [Float] = try reference.tensor("loss").array()
    let norms: [Float] = try reference.tensor("gradient_norm").array()
    let batches = try (0..<10).map { try Self.batch(reference, step: $0) }

    let saved = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: saved, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: saved) }
    var steps: [[String: Double]] = []
    var first = 0
    if let resumeAfter = layout.resumeAfter {
      steps += try await Self.run(layout, ranks: layout.ranks, batches[..<resumeAfter], saving: saved).steps
      first = resumeAfter
    }
    let resumes = layout.resumeAfter != nil
    let end = try await Self.run(
      layout, ranks: layout.ranks + (resumes ? 1 : 0), batches[first...], resuming: resumes ? saved : nil)
    steps += end.steps

    for (step, metrics) in steps.enumerated() {
      #expect(abs(metrics["loss"]! - Double(losses[step])) < 1e-5 * Double(losses[step]), "loss of step \(step)")
      #expect(abs(metrics["grad_norm"]! - Double(norms[step])) < 1e-4 * Double(norms[step]), "norm of step \(step)")
    }
    #expect(steps.count == 10)
    for (name, values) in end.weights {
      let wanted = try reference.tensor("weight.\(name)")
      let found = Tensor(values, shape: wanted.shape)
      let error = (found - wanted).vectorNorm().item() / wanted.vectorNorm().item()
      #expect(error < 1e-5, "\(name): relative error \(error)")
    }
    #expect(end.weights.count == reference.tensors.filter { $0.name.hasPrefix("weight.") }.count)
  }

  struct Outcome: Sendable {
    var steps: [[String: Double]]
    var weights: [String: [Float]]
    var saved: RankContents?
  }

  /// Trains on the batches and returns rank 0's view, after checking that all ranks report the same.
  static func run(
    _ layout: Layout, ranks: Int, _ batches: ArraySlice<TrainBatch>,
    resuming state: URL? = nil, saving target: URL? = nil
  ) async throws -> Outcome {
    let outcomes = try await runGroup(ranks) { group in
      var options = try TrainingOptions(
        schedule: LearningRateSchedule(
          initial: 5e-4, peak: 2e-3, warmupSteps: 3, decaySteps: 13, decay: .linear),
        globalBatchSize: 6, batching: .dynamic(maxTokensPerDevice: layout.tokensPerPack))
      options.loss = .supervised
      options.optimizer = AdamW.Options(beta1: 0.9, beta2: 0.95, weightDecay: 0.1)
      options.gradientCheckpointing = layout.checkpointing
      options.fsdp.offloadsToHost = layout.offloads
      options.attention = layout.attention
      let backend = try FSDPBackend(
        HuggingFaceFolder(fixture("training/adamw10/model")), options: options, parallel: try dataParallel(group))
      if let state { try backend.loadState(from: state, withOptimizer: true) }
      let steps = try batches.flatMap { try PolicyTrainer(backend, options: options).train($0).steps }
      var outcome = Outcome(steps: steps, weights: [:])
      try backend.forEachWeight { outcome.weights[$0] = $1.array() }
      if let target { outcome.saved = try backend.startSaving(into: target, withOptimizer: true).wait() }
      return outcome
    }
    if let target { try TorchDistMetadata(merging: outcomes.compactMap(\.saved)).write(to: target) }
    for outcome in outcomes { #expect(outcome.weights == outcomes[0].weights && outcome.steps == outcomes[0].steps) }
    return outcomes[0]
  }

  static func batch(_ reference: SafetensorsFile, step: Int) throws -> TrainBatch {
    let tokens: [Int] = try reference.tensor("step.\(step).tokens").array()
    let bounds: [Int] = try reference.tensor("step.\(step).cu_seqlens").array()
    let masks: [Int] = try reference.tensor("step.\(step).loss_mask").array()
    var batch = TrainBatch(rolloutID: step)
    for (sample, (start, end)) in zip(bounds, bounds.dropFirst()).enumerated() {
      let mask = masks[start + 1..<end].map { UInt8($0) }
      batch.add(tokens: tokens[start..<end].map { Int32($0) }, mask: mask, sample: sample)
    }
    return batch
  }
}

/// All ranks train on different data; `group` stands for every group of more than one rank.
func dataParallel(_ group: ProcessGroup) throws -> ParallelContext {
  try ParallelContext(ParallelLayout(worldSize: group.size), rank: group.rank, device: .cpu) { _, _, _ in group }
}

extension TrainBatch {
  /// Adds a sample whose response is as long as its mask.
  mutating func add(
    tokens: [Int32], mask: [UInt8], sample: Int, reward: Float = 0, logProbs: [Float]? = nil
  ) {
    self.tokens += tokens
    totalLengths.append(Int32(tokens.count))
    responseLengths.append(Int32(mask.count))
    lossMasks += mask
    rawRewards.append(reward)
    rewards.append(reward)
    if let logProbs { rolloutLogProbs = (rolloutLogProbs ?? []) + logProbs }
    groupIDs.append(sample)
    rolloutIDs.append(sample)
    rolloutMaskSums.append(mask.reduce(0) { $0 + Int32($1) })
    sampleIndices.append(sample)
    truncated.append(false)
    weightVersions.append("0")
  }
}
