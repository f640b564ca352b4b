import JSON
import Parallelism
import Testing
import Torch
import Training

/// Random tiny models on random layouts with random packings, against one rank. A failure names its seed.
@Suite struct MegatronFuzzTests {
  @Test(arguments: 0..<12) func anyLayoutOfAnyModel(seed: Int) async throws {
    var random = SplitMix(seed: UInt64(seed) &* 7919 &+ 1)
    func pick<T>(_ values: [T]) -> T { values[random.next(0...values.count - 1)] }
    let keyValueHeads = pick([1, 2, 4])
    let model = try TinyModel([
      "num_hidden_layers": .int(pick([2, 3, 4, 6])), "num_key_value_heads": .int(keyValueHeads),
      "num_attention_heads": .int(keyValueHeads * pick([4 / keyValueHeads, 8 / keyValueHeads])),
      "intermediate_size": .int(pick([24, 41, 64])), "vocab_size": .int(pick([50, 67, 101])),
      "head_dim": .int(pick([4, 8, 10])), "tie_word_embeddings": .bool(pick([true, false])),
      "attention_bias": .bool(pick([true, false])),
    ], seed: UInt64(seed))
    let layers = try model.layerCount()
    var layout = Layout()
    repeat {
      layout = Layout(tensor: pick([1, 2, 4]), context: pick([1, 2, 3]), pipeline: pick([1, 2, 3]), data: pick([1, 2]))
      layout.sequence = pick([true, false])
      layout.tokensPerPack = pick([12, 30, 80, 10_000])
      layout.format = pick([.packed, .packed, .padded])
      layout.options.recomputation = pick([.none, .selective, .uniform(layers: 2), .block(layers: 1)])
      if layout.pipeline > 1, pick([true, false]) { layout.options.layersPerVirtualStage = 1 }
    } while layout.worldSize > 8
      || (try? StagePlan(
        layerCount: layers, stageCount: layout.pipeline, layersPerVirtualStage: layout.options.layersPerVirtualStage)) == nil
    let batches = (0..<2).map { randomBatch(samples: 16, seed: UInt64(seed * 10 + $0), vocabulary: 50) }
    let expected = try await run(model, Layout(), batches)
    let found = try await run(model, layout, batches)
    expectEqual(found, expected, "seed \(seed), \(layout.testDescription)")
  }
}
