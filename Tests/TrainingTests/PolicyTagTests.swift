import Parallelism
import RLAlgorithms
import Testing
import Torch
import Training

/// Weights of other policies that the one live model takes turns with: a teacher, the old actor, a reference that follows.
@Suite struct PolicyTagTests {
  private static let batches = [randomBatch(samples: 8, seed: 40), randomBatch(samples: 8, seed: 41)]
  private static let layouts = [Layout(tensor: 2, sequence: true), Layout(data: 2, isFSDP: true)]

  /// The advantage is the reward less the divergence, and the teacher's log-probabilities are those that it has by itself.
  @Test(arguments: layouts) func distillation(_ layout: Layout) async throws {
    let (student, teacher) = (try TinyModel(), try TinyModel(seed: 5))
    let batch = Self.batches[0]
    @Sendable func distill(_ options: inout TrainingOptions) {
      options.distillationCoefficient = 0.5
      options.optimizer.weightDecay = 0
    }
    let expected = try await run(student, Layout(), [batch], policies: [.teacher: teacher], distill)
    let found = try await run(student, layout, [batch], policies: [.teacher: teacher], distill)
    expectEqual(found, expected, layout.testDescription)

    let alone = try await run(teacher, Layout(), [batch], policies: [.oldActor: teacher]) { $0.keepsOldActor = true }
    let rollout = expected.rollout[0]
    #expect(abs(rollout["teacher_log_probs"]! - alone.rollout[0]["log_probs"]!) < 1e-5)
    let plain = try await run(student, Layout(), [batch])
    let divergence = rollout["log_probs"]! - rollout["teacher_log_probs"]!
    #expect(abs(rollout["advantages"]! - (plain.rollout[0]["advantages"]! - 0.5 * divergence)) < 1e-5)
    #expect(abs(divergence) > 0.1 && expected.steps[0]["opd_reverse_kl"] != nil)
  }

  /// A teacher that is the student changes nothing.
  @Test func aTeacherThatAgreesTeachesNothing() async throws {
    let student = try TinyModel()
    let found = try await run(student, Layout(), Self.batches, policies: [.teacher: student]) {
      $0.distillationCoefficient = 1
    }
    let plain = try await run(student, Layout(), [Self.batches[0]])
    #expect(found.steps[0]["opd_reverse_kl"] == 0)
    #expect(abs(found.steps[0]["grad_norm"]! - plain.steps[0]["grad_norm"]!) < 1e-5)
    #expect(found.steps[1]["opd_reverse_kl"] != 0)
  }

  /// Ratios are to the policy that was kept, however far the trained one has gone.
  @Test(arguments: layouts) func oldActor(_ layout: Layout) async throws {
    let model = try TinyModel()
    @Sendable func keep(_ options: inout TrainingOptions) { options.keepsOldActor = true }
    let found = try await run(model, layout, Self.batches, policies: [.oldActor: model], keep)
    let fresh = try await run(model, Layout(), [Self.batches[1]], policies: [.oldActor: model], keep)
    #expect(abs(found.rollout[1]["log_probs"]! - fresh.rollout[0]["log_probs"]!) < 1e-5)
    #expect(abs(found.steps[0]["ppo_kl"]!) < 1e-5 && abs(found.steps[1]["ppo_kl"]!) > 1e-4)
  }

  @Test func theReferenceFollows() async throws {
    let model = try TinyModel()
    let batches = Self.batches.enumerated().map { index, batch in
      var batch = batch
      batch.rolloutID = index
      return batch
    }
    for (interval, follows) in [(1, true), (2, false)] {
      let found = try await run(model, Layout(tensor: 2), batches) { options in
        options.klLossCoefficient = 0.1
        options.referenceUpdateInterval = interval
      }
      #expect((abs(found.steps[1]["kl_loss"]!) < 1e-6) == follows, "every \(interval)")
    }
  }
}
