import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import TestSupport
import Testing
import Torch
import Training

/// Every layout of at most eight ranks that the flags allow, for a dense and a MoE model, against one rank.
///
/// All of them, 395 runs, take some ten minutes: `SLIME_LAYOUT_RANKS=8 ./slime test --filter EveryLayoutTests`. Without
/// the variable those of two and three ranks run, and every third of four.
@Suite struct EveryLayoutTests {
  static let dense: JSONValue = [
    "num_hidden_layers": 8, "hidden_size": 16, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 4,
    "intermediate_size": 24,
  ]
  static let mixture: JSONValue = [
    "model_type": "qwen3_moe", "num_hidden_layers": 4, "hidden_size": 16, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 4, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 8,
    "intermediate_size": 24, "norm_topk_prob": true, "mlp_only_layers": [1],
  ]

  /// Those of so many ranks that are not refused when a launch is checked.
  static func layouts(_ configuration: ModelConfiguration, ranks: Int) -> [Layout] {
    let sizes = (1...ranks).filter { ranks % $0 == 0 }
    let experts = configuration.mixture == nil ? [1] : sizes
    var found: [Layout] = []
    for tensor in sizes {
      for context in sizes {
        for pipeline in sizes where ranks % (tensor * context * pipeline) == 0 {
          for sequence in [false, true] where !sequence || tensor > 1 {
            for expert in experts {
              for expertTensor in configuration.mixture == nil ? [tensor] : sizes {
                for options in divisions(configuration.layerCount, over: pipeline) {
                  let layout = Layout(
                    tensor: tensor, sequence: sequence, context: context, pipeline: pipeline,
                    data: ranks / (tensor * context * pipeline), expert: expert,
                    expertTensor: configuration.mixture == nil ? nil : expertTensor, options: options)
                  if isAllowed(layout, configuration) { found.append(layout) }
                }
              }
            }
          }
        }
      }
    }
    return found
  }

  private static func isAllowed(_ layout: Layout, _ configuration: ModelConfiguration) -> Bool {
    do {
      try MegatronBackend.check(configuration, layout.parallel(), layout.options)
      return true
    } catch { return false }
  }

  /// Even and interleaved stages; where they are not even, a first stage that makes the others so.
  private static func divisions(_ layers: Int, over stages: Int) -> [MegatronOptions] {
    guard stages > 1 else { return [MegatronOptions()] }
    guard layers % stages == 0 else {
      let rest = (1..<layers).last { $0 % (stages - 1) == 0 }
      return rest.map { [MegatronLayoutTests.options(first: layers - $0)] } ?? []
    }
    let chunks = (1..<layers / stages).filter { layers / stages % $0 == 0 }
    return [MegatronOptions()] + chunks.map { MegatronLayoutTests.options(perVirtualStage: $0) }
  }

  private static let mostRanks = ProcessInfo.processInfo.environment["SLIME_LAYOUT_RANKS"].flatMap { Int($0) }
  private static let rankCounts = 2...(mostRanks ?? 4)

  private static let batches = (0..<5).map { randomBatch(samples: 16, seed: UInt64($0), longest: 12) }

  private func expectAll(_ changes: JSONValue, ranks: Int) async throws {
    let model = try TinyModel(changes)
    let configuration = try ModelRegistry.configuration(of: HuggingFaceFolder(model.url))
    let expected = try await run(model, Layout(), Self.batches)
    let layouts = Self.layouts(configuration, ranks: ranks)
    // Pure data and pure context parallelism are always possible.
    #expect(layouts.count >= (ranks == 1 ? 1 : 2))
    let distance = Self.mostRanks == nil && ranks == 4 ? 3 : 1
    for layout in layouts.indices.filter({ $0 % distance == 0 }).map({ layouts[$0] }) {
      expectEqual(try await run(model, layout, Self.batches), expected, layout.testDescription)
    }
  }

  @Test(arguments: rankCounts) func dense(ranks: Int) async throws { try await expectAll(Self.dense, ranks: ranks) }

  @Test(arguments: rankCounts) func mixture(ranks: Int) async throws { try await expectAll(Self.mixture, ranks: ranks) }
}
