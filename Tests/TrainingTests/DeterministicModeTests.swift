import JSON
import Models
import Parallelism
import TestSupport
import Testing
import Torch
import Training

/// `--deterministic-mode`: the same bits under every layout of one tensor-parallel size, and in every run.
@Suite struct DeterministicModeTests {
  /// Some longer than a block of attention and than a pack.
  private static let sequences: [[Int32]] = [5, 64, 2, 90, 1, 33, 130, 65, 7, 12].enumerated().map { index, length in
    (0..<length).map { Int32(($0 * 7 + index * 3 + $0 * $0 / 5) % 67) }
  }

  private static func padded(_ layout: Layout) -> Layout {
    var layout = layout
    layout.format = .padded
    return layout
  }

  private static func recomputed(_ layout: Layout, _ recomputation: Recomputation) -> Layout {
    var layout = layout
    layout.options.recomputation = recomputation
    return layout
  }

  private static func logProbs(
    _ model: TinyModel, _ layout: Layout, _ dtype: DType, _ sequences: [[Int32]] = DeterministicModeTests.sequences
  ) async throws -> [[UInt32]] {
    try await run(model, layout, [], scoring: sequences) {
      ($0.isDeterministic, $0.computeType) = (true, dtype)
    }.scores.map { ($0.logProbs + $0.entropy).map(\.bitPattern) }
  }

  private static func expectSame(_ model: TinyModel, _ layouts: [Layout], _ dtype: DType) async throws {
    let wanted = try await logProbs(model, layouts[0], dtype)
    #expect(wanted.count == sequences.count)
    for layout in layouts {
      #expect(try await logProbs(model, layout, dtype) == wanted, "\(layout.testDescription)")
      let reversed = try await logProbs(model, layout, dtype, sequences.reversed())
      #expect(reversed == Array(wanted.reversed()), "\(layout.testDescription), reversed")
    }
  }

  @Test(arguments: [DType.float32, .bfloat16]) func layoutsOfDenseModels(_ dtype: DType) async throws {
    let model = try TinyModel()
    try await Self.expectSame(
      model,
      [
        Layout(), Self.padded(Layout()), Layout(data: 2), Layout(pipeline: 2), Layout(pipeline: 2, data: 2),
        Layout(data: 2, isFSDP: true), Layout(data: 2, isFSDP: true, shardSize: 1),
      ], dtype)
    try await Self.expectSame(
      model,
      [
        Layout(tensor: 2), Layout(tensor: 2, sequence: true), Layout(tensor: 2, sequence: true, pipeline: 2),
        Self.padded(Layout(tensor: 2, sequence: true, data: 2)),
      ], dtype)
  }

  @Test(arguments: [MegatronMoELayoutTests.qwen3, MegatronMoELayoutTests.qwen2, MegatronMoELayoutTests.deepseek])
  func layoutsOfMixtures(_ changes: JSONValue) async throws {
    let model = try TinyModel(changes)
    for dtype in [DType.float32, .bfloat16] {
      try await Self.expectSame(
        model,
        [
          Layout(), Layout(data: 2), Layout(pipeline: 2), Layout(data: 2, expert: 2), Layout(data: 2, isFSDP: true),
          Layout(data: 2, expert: 2, isFSDP: true),
        ], dtype)
      try await Self.expectSame(
        model, [Layout(tensor: 2, sequence: true), Layout(tensor: 2, sequence: true, data: 2)], dtype)
    }
  }

  /// Two runs learn the same bits, close to what the ordinary mode learns; recomputation changes none.
  @Test(arguments: [
    Layout(data: 2), Layout(tensor: 2, sequence: true, pipeline: 2), Layout(data: 2, expert: 2), Layout(data: 2, isFSDP: true),
  ])
  func runsLearnTheSame(_ layout: Layout) async throws {
    let model = try TinyModel(layout.expert > 1 ? MegatronMoELayoutTests.qwen3 : [:])
    let batches = (0..<2).map { randomBatch(samples: 16, seed: UInt64($0), longest: 60) }
    func learn(_ isDeterministic: Bool, _ layout: Layout) async throws -> LayoutOutcome {
      try await run(model, layout, batches) { $0.isDeterministic = isDeterministic }
    }
    func bits(_ outcome: LayoutOutcome) -> [String: [UInt32]] { outcome.weights.mapValues { $0.map(\.bitPattern) } }
    let first = try await learn(true, layout)
    let second = try await learn(true, layout)
    #expect(first.steps == second.steps && bits(first) == bits(second))
    if !layout.isFSDP {
      for recomputation in [Recomputation.selective, .uniform(layers: 1)] {
        let again = try await learn(true, Self.recomputed(layout, recomputation))
        #expect(bits(again) == bits(first), "\(recomputation)")
      }
    }
    let ordinary = try await learn(false, layout)
    expectEqual(first, ordinary, "\(layout.testDescription)")
    let (found, wanted) = (first.steps[0]["grad_norm"]!, ordinary.steps[0]["grad_norm"]!)
    #expect(abs(found - wanted) <= 1e-5 * wanted)
  }

  @Test func whatItDoesNotKnowIsRefused() async throws {
    let model = try TinyModel()
    func message(_ layout: Layout, _ adjust: @escaping @Sendable (inout TrainingOptions) -> Void = { _ in }) async -> String {
      do {
        _ = try await run(model, layout, []) {
          $0.isDeterministic = true
          adjust(&$0)
        }
        return ""
      } catch { return "\(error)" }
    }
    #expect(await message(Layout(context: 2)).contains("--context-parallel-size 2"))
    #expect(await message(Layout()) { $0.attention = .eager }.contains("leave --attn-implementation out"))
  }
}
