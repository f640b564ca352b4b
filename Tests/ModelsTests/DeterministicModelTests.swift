import Checkpoints
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// The operators of deterministic mode, in whole models: they round in another way, and give the same gradients.
@Suite struct DeterministicModelTests {
  private struct Outcome {
    var logProbs: [Float]
    var gradients: [(name: String, value: Tensor)]
  }

  private static func outcome(
    _ name: String, _ sequences: [[Int]], isDeterministic: Bool, dtype: DType = .float32
  ) throws -> Outcome {
    let folder = try HuggingFaceFolder(fixture("models/\(name)"))
    var parallel = ParallelContext.single()
    parallel.isDeterministic = isDeterministic
    let model = try CausalLM(ModelRegistry.configuration(of: folder), parallel: parallel, dtype: dtype)
    return try catchingTorchErrors {
      try model.load(folder, dtype: dtype, device: .cpu)
      for parameter in model.table.parameters { parameter.tensor.requiresGrad = parameter.isLearned }
      let attention = trainingAttention(lengths: sequences.map(\.count), parallel: parallel, implementation: .sdpa)
      let positions = Tensor(sequences.flatMap { Array($0.indices) })
      let hidden = model.hidden(Tensor(sequences.flatMap { $0 }), ForwardContext(positions: positions, attention: attention))
      var (rows, start) = ([Int](), 0)
      for sequence in sequences {
        rows += start..<start + sequence.count - 1
        start += sequence.count
      }
      let statistics = model.statistics(
        hidden, at: Tensor(rows), targets: Tensor(sequences.flatMap { $0.dropFirst() }), temperature: 0.7)
      (statistics.logProbs.mean() + statistics.entropy.mean() * 0.1).backward()
      return Outcome(
        logProbs: statistics.logProbs.array(),
        gradients: model.table.parameters.compactMap { parameter in parameter.tensor.grad.map { (parameter.name, $0) } })
    }
  }

  private static func sequences(_ name: String, _ lengths: [Int]) throws -> [[Int]] {
    let vocabulary = try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("models/\(name)"))).vocabularySize
    var random = SeededGenerator(state: 5)
    return lengths.map { length in (0..<length).map { _ in Int.random(in: 0..<vocabulary, using: &random) } }
  }

  private static let names = [
    "qwen3-tied", "qwen2", "llama-biases-3-heads", "llama-head-dim-5-heads", "qwen3-moe", "qwen2-moe", "glm4-moe", "deepseek-v3",
    "deepseek-v3-no-query-rank",
  ]

  @Test(arguments: names) func valuesAndGradientsAreThoseOfTheOrdinaryMode(_ name: String) throws {
    let sequences = try Self.sequences(name, [3, 64, 65, 130, 17, 1, 200])
    let wanted = try Self.outcome(name, sequences, isDeterministic: false)
    let found = try Self.outcome(name, sequences, isDeterministic: true)
    for (found, wanted) in zip(found.logProbs, wanted.logProbs) { #expect(abs(found - wanted) < 1e-4) }
    #expect(found.gradients.map(\.name) == wanted.gradients.map(\.name) && !wanted.gradients.isEmpty)
    for (found, wanted) in zip(found.gradients, wanted.gradients) {
      let error = (found.value - wanted.value).vectorNorm().item() / max(wanted.value.vectorNorm().item(), 1e-12)
      #expect(error < 1e-5, "gradient of \(found.name): relative error \(error)")
    }
  }

  /// Each sequence by itself, and all of them in another order.
  @Test(arguments: names, [DType.float32, .bfloat16]) func packingDoesNotMatter(_ name: String, dtype: DType) throws {
    let sequences = try Self.sequences(name, [3, 64, 65, 130, 17, 2, 200])
    let whole = try Self.outcome(name, sequences, isDeterministic: true, dtype: dtype).logProbs
    let alone = try sequences.flatMap { try Self.outcome(name, [$0], isDeterministic: true, dtype: dtype).logProbs }
    #expect(whole.map(\.bitPattern) == alone.map(\.bitPattern))
    let reversed = try Self.outcome(name, sequences.reversed(), isDeterministic: true, dtype: dtype).logProbs
    let last = sequences[sequences.count - 1].count - 1
    #expect(reversed.prefix(last).map(\.bitPattern) == whole.suffix(last).map(\.bitPattern))
  }

  /// What the test above finds without the mode.
  @Test func withoutTheModePackingMatters() throws {
    let sequences = try Self.sequences("qwen3-tied", [3, 64, 65, 130, 17, 2, 200])
    let whole = try Self.outcome("qwen3-tied", sequences, isDeterministic: false).logProbs
    let alone = try sequences.flatMap { try Self.outcome("qwen3-tied", [$0], isDeterministic: false).logProbs }
    #expect(whole.map(\.bitPattern) != alone.map(\.bitPattern))
  }
}
