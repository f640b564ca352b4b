import Checkpoints
import Foundation
import Models
import Parallelism
import RLAlgorithms
import TestSupport
import Testing
import Torch
import Training

/// PPO's critic, and the actor that learns from its values.
@Suite struct CriticTests {
  private static let batches = [randomBatch(samples: 16, seed: 30), randomBatch(samples: 8, seed: 31)]

  /// What a critic of the command line gets.
  @Sendable private static func critic(_ options: inout TrainingOptions) {
    options.loss = .value
    options.policy.estimator = .ppo
    (options.discount, options.lambda, options.valueClip) = (0.99, 0.9, 0.05)
    // No part of a value.
    options.temperature = 0.5
  }

  private static func expectSame(_ found: LayoutOutcome, _ expected: LayoutOutcome, _ place: String) {
    expectEqual(found, expected, place)
    for (found, expected) in zip(found.values, expected.values) {
      #expect(found.map(\.sample) == expected.map(\.sample), "\(place)")
      let pairs = zip(found.flatMap(\.values), expected.flatMap(\.values))
      let worst: Float = pairs.map { abs($0 - $1) }.max() ?? .infinity
      #expect(worst < 1e-4, "\(place): values differ by \(worst)")
    }
  }

  private static let reference = Task {
    let model = try TinyModel(["tie_word_embeddings": true])
    return (model, try await run(model, Layout(), batches, critic))
  }

  @Test(arguments: [
    Layout(tensor: 2, sequence: true, context: 2), Layout(tensor: 2, pipeline: 2),
    Layout(pipeline: 2, data: 2, options: MegatronLayoutTests.options(perVirtualStage: 1)),
  ])
  func everyLayoutIsThatOfOneRank(_ layout: Layout) async throws {
    let (model, expected) = try await Self.reference.value
    let found = try await run(model, layout, Self.batches, Self.critic)
    Self.expectSame(found, expected, layout.testDescription)
  }

  @Test(arguments: [Layout(context: 2, data: 2, isFSDP: true), Layout(data: 3, isFSDP: true)])
  func fullyShardedIsThatOfOneRank(_ layout: Layout) async throws {
    @Sendable func critic(_ options: inout TrainingOptions) {
      Self.critic(&options)
      options.optimizer.weightDecay = 0
    }
    let (model, _) = try await Self.reference.value
    let expected = try await run(model, Layout(), Self.batches, critic)
    Self.expectSame(try await run(model, layout, Self.batches, critic), expected, layout.testDescription)
  }

  @Test func dividedExpertsAreThoseOfOneRank() async throws {
    let model = try TinyModel(MegatronMoELayoutTests.deepseek)
    let batches = [Self.batches[1]]
    let expected = try await run(model, Layout(), batches, Self.critic)
    let found = try await run(model, Layout(tensor: 2, sequence: true, expert: 2, expertTensor: 1), batches, Self.critic)
    Self.expectSame(found, expected, "divided experts")
  }

  @Test(arguments: [Layout(tensor: 2, sequence: true), Layout(isFSDP: true)])
  func halfPrecisionIsNear(_ layout: Layout) async throws {
    let (model, expected) = try await Self.reference.value
    let found = try await run(model, layout, [Self.batches[0]]) { options in
      Self.critic(&options)
      options.computeType = .bfloat16
    }
    for name in ["value_loss", "grad_norm"] {
      let (value, wanted) = (found.steps[0][name]!, expected.steps[0][name]!)
      #expect(abs(value - wanted) < 0.05 * wanted, "\(layout.testDescription): \(name) is \(value), not \(wanted)")
    }
  }

  /// Values, loss and the head's gradient from the model's hidden states and the definitions alone. Before the first step
  /// values are the old ones: the loss is (V − R)², and the gradient of a value 2 (V − R).
  @Test func valuesAndGradientsAreThoseOfTheDefinition() async throws {
    let batch = Self.batches[0].selecting(Array(0..<8))
    let (model, _) = try await Self.reference.value
    let before = try await run(model, Layout(), [], Self.critic)
    let after = try await run(model, Layout(tensor: 2, sequence: true, context: 2), [batch]) { options in
      Self.critic(&options)
      options.clipGradient = 0
      // Far above every gradient: a step is a multiple of it.
      options.optimizer = AdamW.Options(epsilon: 1e6)
      options.schedule = try! LearningRateSchedule(peak: 1e6, decaySteps: 10)
    }
    let weight = try #require(before.weights["value_head.weight"])
    #expect(before.weights["value_head.bias"] == [0] && before.weights["lm_head.weight"] == nil)
    let hidden = try Self.hidden(model, batch)
    let values = hidden.map { zip($0, weight).reduce(0) { $0 + $1.0 * $1.1 } }
    let found = after.values[0].flatMap(\.values)
    try #require(found.count == values.count)
    for (found, value) in zip(found, values) { #expect(abs(found - value) < 1e-4) }
    let advantages = RLAlgorithms.advantages(
      .ppo, rewards: batch.rewards, responseLengths: batch.responseLengths.map { Int($0) }, masks: batch.lossMasks,
      discount: 0.99, values: values, lambda: 0.9)
    var (loss, bias, gradient): (Float, Float, [Float]) = (0, 0, Array(repeating: 0, count: weight.count))
    for (sample, range) in batch.responseRanges.enumerated() {
      for token in range where batch.lossMasks[token] == 1 {
        // R = A + V, so V − R = −A.
        let share = 1 / (8 * max(Float(batch.rolloutMaskSums[sample]), 1))
        loss += share * advantages[token] * advantages[token]
        bias -= share * 2 * advantages[token]
        for index in gradient.indices { gradient[index] -= share * 2 * advantages[token] * hidden[token][index] }
      }
    }
    #expect(abs(after.steps[0]["value_loss"]! - Double(loss)) < 1e-4 * Double(loss))
    #expect(abs(after.weights["value_head.bias"]![0] + bias) < 1e-3 * max(abs(bias), 0.1))
    let norm = gradient.reduce(0) { $0 + $1 * $1 }.squareRoot()
    for (index, value) in gradient.enumerated() {
      #expect(abs(after.weights["value_head.weight"]![index] - weight[index] + value) < 1e-3 * norm)
    }
  }

  /// Hidden states that predict each response token, each sequence by itself.
  private static func hidden(_ model: TinyModel, _ batch: TrainBatch) throws -> [[Float]] {
    try catchingTorchErrors {
      let folder = try HuggingFaceFolder(model.url)
      let plain = try CausalLM(ModelRegistry.configuration(of: folder), parallel: .single(), dtype: .float32)
      try plain.load(folder, dtype: .float32, device: .cpu)
      var states: [[Float]] = []
      withoutGradients {
        for (range, response) in zip(batch.tokenRanges, batch.responseLengths) {
          let tokens = batch.tokens[range].map { Int($0) }
          let attention = PackedAttention(lengths: [tokens.count], device: .cpu)
          let context = ForwardContext(positions: Tensor(Array(tokens.indices)), attention: attention)
          let hidden = plain.hidden(Tensor(tokens), context)
          for place in tokens.count - Int(response)..<tokens.count { states.append(hidden[place - 1].array()) }
        }
      }
      return states
    }
  }

  /// The actor's advantages come from the values that the critic had; tokens and ranks may be divided.
  @Test func theActorLearnsFromValues() async throws {
    let (model, critic) = try await Self.reference.value
    let batches = zip(Self.batches, critic.values).map { $0.adding($1) }
    @Sendable func actor(_ options: inout TrainingOptions) {
      options.policy.estimator = .ppo
      (options.discount, options.lambda, options.klCoefficient, options.normalizesAdvantages) = (0.99, 0.9, 0.1, true)
    }
    let expected = try await run(model, Layout(), batches, actor)
    let found = try await run(model, Layout(context: 2), batches, actor)
    expectEqual(found, expected, "PPO's actor")
    for name in ["values", "returns", "advantages", "ref_log_probs"] { #expect(expected.rollout[0][name] != nil, "\(name)") }
    #expect(abs(expected.rollout[0]["values"]! - critic.rollout[0]["values"]!) < 1e-5)
  }

  /// From the actor's checkpoint a critic begins as from the model that it holds, with a fresh head and optimizer.
  @Test(arguments: [Layout(tensor: 2), Layout(data: 2, isFSDP: true)])
  func aCriticBeginsFromAnActorsCheckpoint(_ layout: Layout) async throws {
    let saved = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: saved, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: saved) }
    let model = try TinyModel()
    let actor = try await run(model, layout, [Self.batches[1]], saving: saved)
    let critic = try await run(model, layout, [], resuming: saved, Self.critic) { backend in
      #expect(backend.stepCount == 0)
    }
    var expected = actor.weights
    expected["lm_head.weight"] = nil
    for (name, values) in try await run(model, layout, [], Self.critic).weights where name.hasPrefix("value_head") {
      expected[name] = values
    }
    #expect(critic.weights == expected && expected["value_head.weight"] != nil)
  }

  @Test(arguments: [
    (Layout(tensor: 2, sequence: true, pipeline: 2), Layout(data: 2)),
    (Layout(data: 2, isFSDP: true), Layout(data: 3, isFSDP: true)),
  ])
  func aSavedCriticGoesOnUnderAnotherLayout(first: Layout, second: Layout) async throws {
    let saved = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: saved, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: saved) }
    let (model, reference) = try await Self.reference.value
    let expected = first.isFSDP ? try await run(model, first, Self.batches, Self.critic) : reference
    var found = try await run(model, first, [Self.batches[0]], saving: saved, Self.critic)
    let rest = try await run(model, second, [Self.batches[1]], resuming: saved, Self.critic)
    (found.steps, found.rollout) = (found.steps + rest.steps, found.rollout + rest.rollout)
    (found.values, found.weights) = (found.values + rest.values, rest.weights)
    Self.expectSame(found, expected, "\(first.testDescription), then \(second.testDescription)")
  }
}
