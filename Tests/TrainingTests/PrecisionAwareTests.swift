import Foundation
import TestSupport
import Testing
import Torch
import Training

/// bf16 weights that are trained beside what they lack of fp32, with gradients and moments in bf16, on one batch again and
/// again.
@Suite struct PrecisionAwareTests {
  private static let batch = randomBatch(samples: 8, seed: 3)

  private static let low = {
    var precision = OptimizerPrecision()
    precision.keepsRemainders = true
    (precision.gradients, precision.firstMoments, precision.secondMoments) = (.bfloat16, .bfloat16, .bfloat16)
    return precision
  }()

  /// Supervised steps; without a precision all is fp32.
  private static func run(
    _ layout: Layout, steps: Int = 12, _ precision: OptimizerPrecision?, offloads: Bool = false, resuming: URL? = nil,
    saving: URL? = nil
  ) async throws -> LayoutOutcome {
    try await TrainingTests.run(
      TinyModel(), layout, Array(repeating: batch, count: steps), resuming: resuming, saving: saving
    ) { options in
      options.loss = .supervised
      (options.megatron.offloadsOptimizer, options.fsdp.offloadsToHost) = (offloads, offloads)
      guard let precision else { return }
      (options.computeType, options.precision) = (.bfloat16, precision)
    }
  }

  private static let reference = Task { try await run(Layout(), nil) }

  @Test(arguments: [
    (Layout(), false), (Layout(), true), (Layout(tensor: 2, sequence: true, data: 2), false),
    (Layout(context: 2, pipeline: 2, data: 2), false), (Layout(isFSDP: true), false), (Layout(context: 2, data: 2, isFSDP: true), true),
    (Layout(data: 4, isFSDP: true, shardSize: 2), false),
  ])
  func staysCloseToSinglePrecision(_ layout: Layout, offloads: Bool) async throws {
    let expected = try await Self.reference.value
    let found = try await Self.run(layout, Self.low, offloads: offloads)
    let (losses, wanted) = (found.steps.map { $0["loss"]! }, expected.steps.map { $0["loss"]! })
    #expect(losses.count == 12 && losses.last! < 0.9 * losses[0])
    for (step, (loss, wanted)) in zip(losses, wanted).enumerated() {
      #expect(abs(loss - wanted) < 0.03 * wanted, "loss of step \(step): \(loss), in fp32 \(wanted)")
    }
    let (norm, wantedNorm) = (found.steps[0]["grad_norm"]!, expected.steps[0]["grad_norm"]!)
    #expect(abs(norm - wantedNorm) < 3e-2 * wantedNorm)
    // What others are told of the weights is what is computed with.
    #expect(found.weights.values.allSatisfy { $0.allSatisfy { $0.bitPattern & 0xFFFF == 0 } })
  }

  /// Saved in the middle, and taken over by a run that keeps all in fp32 and saves it again: nothing is lost on the way.
  @Test(arguments: [Layout(data: 2), Layout(data: 2, isFSDP: true)])
  func stateOutlivesAnotherPrecision(_ layout: Layout) async throws {
    let folders = (0..<2).map { _ in FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString) }
    for folder in folders { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true) }
    defer { for folder in folders { try? FileManager.default.removeItem(at: folder) } }
    let whole = try await Self.run(layout, steps: 6, Self.low)
    let first = try await Self.run(layout, steps: 3, Self.low, saving: folders[0])
    _ = try await Self.run(layout, steps: 0, OptimizerPrecision(), resuming: folders[0], saving: folders[1])
    for folder in folders {
      let second = try await Self.run(layout, steps: 3, Self.low, resuming: folder)
      #expect(first.steps + second.steps == whole.steps && second.weights == whole.weights)
    }
    let plain = try await Self.run(layout, steps: 3, OptimizerPrecision(), resuming: folders[0])
    for (step, wanted) in zip(plain.steps, whole.steps[3...]) {
      #expect(abs(step["loss"]! - wanted["loss"]!) < 0.02 * wanted["loss"]!)
    }
  }

  @Test(arguments: [
    (Layout(tensor: 2, sequence: true, data: 2), Layout(pipeline: 2, data: 2)),
    (Layout(data: 3, isFSDP: true), Layout(data: 4, isFSDP: true, shardSize: 2)),
  ])
  func stateMovesToAnotherLayout(from first: Layout, to second: Layout) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let before = try await Self.run(first, steps: 2, Self.low, saving: folder)
    let after = try await Self.run(second, steps: 0, Self.low, resuming: folder)
    #expect(after.weights == before.weights)
  }
}
