import Foundation
import TestSupport
import Testing
import Torch
import Training

/// FSDP with weights and activations in half precision, trained on one batch again and again.
@Suite struct MixedPrecisionTests {
  private static let batch = randomBatch(samples: 8, seed: 3)

  /// Supervised steps.
  private static func run(
    _ layout: Layout, steps: Int = 12, _ type: DType, scale: DynamicLossScale.Options = .init(), resuming: URL? = nil,
    saving: URL? = nil, ends: Ends = Ends()
  ) async throws -> LayoutOutcome {
    try await TrainingTests.run(
      TinyModel(), layout, Array(repeating: batch, count: steps), resuming: resuming, saving: saving,
      { options in
        options.loss = .supervised
        options.computeType = type
        options.fsdp.lossScale = scale
      }, inspecting: { ends.note(($0 as! FSDPBackend).lossScale) })
  }

  private static let reference = Task { try await run(Layout(isFSDP: true), .float32) }

  @Test(arguments: [
    (DType.bfloat16, Layout(isFSDP: true)), (.bfloat16, Layout(context: 2, data: 2, isFSDP: true)),
    (.float16, Layout(isFSDP: true)), (.float16, Layout(context: 2, data: 2, isFSDP: true)),
    (.float16, Layout(data: 4, isFSDP: true, shardSize: 2)),
  ])
  func staysCloseToSinglePrecision(type: DType, layout: Layout) async throws {
    let expected = try await Self.reference.value
    let found = try await Self.run(layout, type)
    let (losses, wanted) = (found.steps.map { $0["loss"]! }, expected.steps.map { $0["loss"]! })
    #expect(losses.count == 12 && losses.last! < 0.9 * losses[0])
    for (step, (loss, wanted)) in zip(losses, wanted).enumerated() {
      #expect(abs(loss - wanted) < 0.02 * wanted, "loss of step \(step): \(loss), in fp32 \(wanted)")
    }
    // From the same weights; eight bits of mantissa, or eleven.
    let (norm, wantedNorm) = (found.steps[0]["grad_norm"]!, expected.steps[0]["grad_norm"]!)
    #expect(abs(norm - wantedNorm) < (type == .bfloat16 ? 2e-2 : 2e-3) * wantedNorm)
    #expect(found.steps.allSatisfy { $0["skipped_steps"] == nil })
    // The trained weights are fp32 whatever is computed with.
    #expect(found.weights.values.contains { $0.contains { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) != $0 } })
  }

  /// A scale that fp16 cannot hold is halved until it can; the steps until then change nothing.
  @Test func overflowsAreSkippedAndCounted() async throws {
    var scale = DynamicLossScale.Options()
    scale.initial = 0x1p40
    let ends = Ends()
    let found = try await Self.run(
      Layout(data: 2, isFSDP: true), steps: 36, .float16, scale: scale, ends: ends)
    let skipped = found.steps.prefix { $0["skipped_steps"] == 1 }.count
    #expect(skipped > 5 && skipped < 34)
    #expect(found.steps[skipped...].allSatisfy { $0["skipped_steps"] == nil && $0["grad_norm"]!.isFinite })
    #expect(found.steps[..<skipped].allSatisfy { $0["loss"] == found.steps[0]["loss"] })
    #expect(found.steps[skipped]["loss"] == found.steps[0]["loss"])
    #expect(found.steps.last!["loss"]! < found.steps[0]["loss"]!)
    for end in ends.all {
      #expect(end.scale == 0x1p40 / pow(2, Double(skipped)) && end.skippedSteps == skipped)
      #expect(end.goodSteps == 36 - skipped)
    }
    #expect(ends.all.count == 2)
  }

  @Test func lossScaleIsSavedAndResumed() async throws {
    var scale = DynamicLossScale.Options()
    (scale.initial, scale.growthInterval) = (256, 4)
    let saved = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: saved, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: saved) }
    let layout = Layout(data: 2, isFSDP: true)
    let (first, second, whole) = (Ends(), Ends(), Ends())
    let begun = try await Self.run(layout, steps: 6, .float16, scale: scale, saving: saved, ends: first)
    let ended = try await Self.run(layout, steps: 6, .float16, scale: scale, resuming: saved, ends: second)
    let expected = try await Self.run(layout, .float16, scale: scale, ends: whole)
    #expect(first.all[0].scale == 512 && first.all[0].goodSteps == 2)
    #expect(second.all == whole.all && second.all[0].scale == 2048)
    #expect(begun.steps + ended.steps == expected.steps)
    #expect(ended.weights == expected.weights)
  }

  /// What the ranks had in the end.
  private final class Ends: @unchecked Sendable {
    private let lock = NSLock()
    private var scales: [DynamicLossScale] = []
    var all: [DynamicLossScale] { lock.withLock { scales } }
    func note(_ scale: DynamicLossScale?) { lock.withLock { if let scale { scales.append(scale) } } }
  }
}
