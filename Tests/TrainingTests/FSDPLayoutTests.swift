import Foundation
import JSON
import Models
import RLAlgorithms
import TestSupport
import Testing
import Torch
import Training

/// FSDP on ranks that divide samples, sequences and copies of the weights, against one rank and against Megatron.
@Suite struct FSDPLayoutTests {
  private static let batches = (0..<5).map { randomBatch(samples: 16, seed: UInt64($0)) }
  private static let sequences = (1...9).map { length in (0..<length * 2).map { Int32(($0 * 7 + length) % 67) } }

  private static let reference = Task {
    try await run(TinyModel(), Layout(isFSDP: true), batches, scoring: sequences)
  }

  static let layouts = [
    Layout(data: 2, isFSDP: true), Layout(context: 2, isFSDP: true), Layout(context: 4, isFSDP: true),
    Layout(context: 2, data: 2, isFSDP: true), Layout(context: 4, data: 2, isFSDP: true),
    Layout(context: 2, format: .padded, isFSDP: true), Layout(data: 4, isFSDP: true, shardSize: 2),
    Layout(data: 2, isFSDP: true, shardSize: 1), Layout(context: 2, data: 2, isFSDP: true, shardSize: 2),
  ]

  private static func expectSame(_ found: LayoutOutcome, _ expected: LayoutOutcome, _ place: String) {
    expectEqual(found, expected, place)
    #expect(found.scores.map(\.index) == expected.scores.map(\.index))
    for (found, expected) in zip(found.scores, expected.scores) {
      let pairs = zip(found.logProbs + found.entropy, expected.logProbs + expected.entropy)
      let worst: Float = pairs.map { abs($0 - $1) }.max() ?? 0
      #expect(found.logProbs.count == expected.logProbs.count && worst < 1e-4, "\(place): \(worst)")
    }
  }

  @Test(arguments: layouts) func tenStepsAreThoseOfOneRank(_ layout: Layout) async throws {
    let expected = try await Self.reference.value
    let found = try await run(TinyModel(), layout, Self.batches, scoring: Self.sequences)
    Self.expectSame(found, expected, layout.testDescription)
  }

  @Test(arguments: [Layout(isFSDP: true), Layout(context: 2, data: 2, isFSDP: true), Layout(data: 4, isFSDP: true, shardSize: 2)])
  func checkpointingAndOffloadingChangeNothing(_ layout: Layout) async throws {
    let expected = try await Self.reference.value
    let found = try await run(TinyModel(), layout, Self.batches, scoring: Self.sequences) { options in
      options.gradientCheckpointing = true
      options.fsdp.offloadsToHost = true
      options.attention = .eager
    }
    Self.expectSame(found, expected, "\(layout.testDescription), checkpointing, offloaded, eager")
  }

  /// FSDP decays norms and biases as PyTorch's AdamW does, Megatron does not: without decay both do the same.
  @Test(arguments: [
    (Layout(data: 2, isFSDP: true), Layout()), (Layout(context: 2, data: 2, isFSDP: true), Layout(tensor: 2, pipeline: 2)),
  ])
  func bothBackendsGiveTheSameWeights(fsdp: Layout, megatron: Layout) async throws {
    func outcome(_ layout: Layout) async throws -> LayoutOutcome {
      try await run(TinyModel(), layout, Self.batches, scoring: Self.sequences) { $0.optimizer.weightDecay = 0 }
    }
    Self.expectSame(
      try await outcome(fsdp), try await outcome(megatron), "\(fsdp.testDescription) and \(megatron.testDescription)")
  }

  private static let mixture = Task {
    let model = try TinyModel(MegatronMoELayoutTests.deepseek)
    return (model, try await run(model, Layout(isFSDP: true), batches, scoring: sequences))
  }

  /// Mixtures of experts, gathered whole or divided over ranks that send them tokens; constants stay as they were.
  @Test(arguments: [
    Layout(data: 2, isFSDP: true), Layout(data: 2, expert: 2, isFSDP: true), Layout(context: 2, data: 2, expert: 2, isFSDP: true),
    Layout(data: 4, expert: 2, isFSDP: true, shardSize: 2), Layout(context: 2, data: 2, expert: 4, isFSDP: true),
  ])
  func expertsAreThoseOfOneRank(_ layout: Layout) async throws {
    let (model, expected) = try await Self.mixture.value
    let found = try await run(model, layout, Self.batches, scoring: Self.sequences)
    Self.expectSame(found, expected, layout.testDescription)
  }

  /// Experts that four ranks hold two each of, read by ranks that hold all, checkpointed and offloaded.
  @Test func stateOfDividedExpertsMoves() async throws {
    let (model, expected) = try await Self.mixture.value
    let saved = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: saved, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: saved) }
    var found = try await run(
      model, Layout(data: 4, expert: 4, isFSDP: true), Array(Self.batches[..<2]), saving: saved)
    let rest = try await run(
      TinyModel(MegatronMoELayoutTests.deepseek, seed: 9), Layout(data: 2, isFSDP: true), Array(Self.batches[2...]),
      scoring: Self.sequences, resuming: saved
    ) { options in
      options.gradientCheckpointing = true
      options.fsdp.offloadsToHost = true
    }
    found.steps += rest.steps
    found.rollout += rest.rollout
    (found.weights, found.scores) = (rest.weights, rest.scores)
    Self.expectSame(found, expected, "divided experts, then whole ones")
  }

  /// A step whose gradients are not finite is left out and counted; it changes neither weights nor moments.
  @Test func stepsThatAreNotFiniteAreSkipped() async throws {
    var bad = randomBatch(samples: 8, seed: 20)
    bad.rewards[0] = .infinity
    let good = (0..<2).map { randomBatch(samples: 8, seed: 21 + UInt64($0)) }
    let layout = Layout(data: 4, isFSDP: true, shardSize: 2)
    let found = try await run(TinyModel(), layout, [good[0], bad, good[1]])
    let expected = try await run(TinyModel(), layout, good)
    #expect(found.steps.map { $0["skipped_steps"] } == [nil, 1, nil] && expected.steps.count == 2)
    #expect(found.weights == expected.weights)
    #expect(found.steps[2] == expected.steps[1])
  }

  /// A reference policy is kept and used whatever the shards.
  @Test(arguments: [Layout(data: 2, isFSDP: true), Layout(context: 2, data: 2, isFSDP: true, shardSize: 2)])
  func referencePolicyIsTheSame(_ layout: Layout) async throws {
    func outcome(_ layout: Layout) async throws -> LayoutOutcome {
      try await run(TinyModel(), layout, Self.batches) { $0.klLossCoefficient = 0.1 }
    }
    let (found, expected) = (try await outcome(layout), try await outcome(Layout(isFSDP: true)))
    expectEqual(found, expected, layout.testDescription)
    #expect(expected.steps.last!["kl_loss"]! > 0 && expected.rollout.last!["ref_log_probs"] != nil)
  }

  /// Saved by two copies of two shards each, read by three ranks of one copy, and the other way round.
  @Test(arguments: [
    (Layout(data: 4, isFSDP: true, shardSize: 2), Layout(data: 3, isFSDP: true)),
    (Layout(data: 3, isFSDP: true), Layout(data: 2, isFSDP: true, shardSize: 1)),
  ])
  func stateMovesToAnotherLayout(first: Layout, second: Layout) async throws {
    let expected = try await Self.reference.value
    let saved = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: saved, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: saved) }
    var found = try await run(TinyModel(), first, Array(Self.batches[..<2]), saving: saved)
    let rest = try await run(
      TinyModel(seed: 9), second, Array(Self.batches[2...]), scoring: Self.sequences, resuming: saved)
    found.steps += rest.steps
    found.rollout += rest.rollout
    (found.weights, found.scores) = (rest.weights, rest.scores)
    Self.expectSame(found, expected, "\(first.testDescription), then \(second.testDescription)")
  }

  @Test func stateOfAnotherModelIsRefused() async throws {
    let saved = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: saved, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: saved) }
    _ = try await run(TinyModel(), Layout(isFSDP: true), [], saving: saved)
    let others: [JSONValue] = [
      ["intermediate_size": 40], ["num_hidden_layers": 5], ["num_hidden_layers": 3], ["hidden_size": 40],
    ]
    for changes in others {
      await #expect(throws: RankFailure.self, "\(changes)") {
        try await run(TinyModel(changes), Layout(isFSDP: true), [], resuming: saved)
      }
    }
  }

  @Test func layoutsOfMegatronAreRefused() async throws {
    for layout in [Layout(tensor: 2, isFSDP: true), Layout(pipeline: 2, isFSDP: true), Layout(data: 2, expertTensor: 2, isFSDP: true)] {
      await #expect(throws: RankFailure.self) { try await run(TinyModel(), layout, []) }
    }
    await #expect(throws: RankFailure.self) {
      try await run(TinyModel(), Layout(isFSDP: true), []) { $0.attention = .flashAttention2 }
    }
  }
}
