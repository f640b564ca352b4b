import Checkpoints
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// Rotary frequencies that depend on the length of a sequence, against `transformers`: log-probabilities and gradients of
/// sequences within the original context and past it, packed together.
@Suite struct LongRotaryTests {
  @Test(arguments: ["longrope", "dynamic"]) func pastTheOriginalContext(_ name: String) throws {
    let given = try RotaryFixture(name)
    #expect(given.configuration.sequenceLimit == nil && given.configuration.contextLength == 12)
    let model = try CausalLM(given.configuration, parallel: .single(), dtype: .float32)
    try catchingTorchErrors {
      try model.load(given.folder, dtype: .float32, device: .cpu)
      for parameter in model.table.parameters { parameter.tensor.requiresGrad = true }
      let lengths = given.sequences.map(\.count)
      let context = ForwardContext(
        positions: Tensor(lengths.flatMap { Array(0..<$0) }),
        sequenceParts: lengths.map { SequencePart(count: $0, sequenceLength: $0) },
        attention: PackedAttention(lengths: lengths, device: .cpu))
      let tokens = Tensor(given.sequences.flatMap { $0.map(Int.init) })
      let bounds = lengths.reduce(into: [0]) { $0.append($0.last! + $1) }
      let predicting = Tensor(zip(bounds, bounds.dropFirst()).flatMap { Array($0..<$1 - 1) })
      let logProbs = model.statistics(
        model.hidden(tokens, context), at: predicting, targets: tokens.indexSelect(0, index: predicting + 1), temperature: 1
      ).logProbs
      let wanted = Tensor(given.logProbs.flatMap { $0 })
      #expect((logProbs - wanted).abs().max().item() <= 1e-4)

      (-logProbs.mean()).backward()
      var assembly = StoredLayout(model).assembly()
      for parameter in model.table.parameters {
        let gradient = try #require(parameter.tensor.grad)
        for (name, part) in checkpointTensors(parameter, gradient).compactMap({ assembly.add($0.name, $0.tensor) }) {
          let wanted = try given.reference.tensor("gradient.\(name)")
          let error = (part - wanted).vectorNorm().item() / wanted.vectorNorm().item()
          #expect(error < 1e-4, "gradient of \(name): relative error \(error)")
        }
      }
    }
  }

  /// With a length that is known beforehand, all sequences have its frequencies: those before are the beginnings of longer ones.
  @Test(arguments: ["longrope", "dynamic"]) func aKnownLength(_ name: String) throws {
    let given = try RotaryFixture(name)
    #expect(given.configuration.reaching(nil) == given.configuration && given.configuration.reaching(12) == given.configuration)
    let plain = try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("models/llama2")))
    #expect(plain.reaching(100_000) == plain)
    let sequence = try #require(given.sequences.last).map(Int.init)
    func logProbs(_ configuration: ModelConfiguration, _ tokens: [Int]) throws -> [Float] {
      let model = try CausalLM(configuration, parallel: .single(), dtype: .float32)
      return try catchingTorchErrors {
        try model.load(given.folder, dtype: .float32, device: .cpu)
        return withoutGradients {
          let count = tokens.count
          let context = ForwardContext(
            positions: .arange(count), sequenceParts: [SequencePart(count: count, sequenceLength: count)],
            attention: PackedAttention(lengths: [count], device: .cpu))
          return model.statistics(
            model.hidden(Tensor(tokens), context), at: .arange(count - 1), targets: Tensor(Array(tokens.dropFirst())), temperature: 1
          ).logProbs.array()
        }
      }
    }
    func difference(_ first: [Float], _ second: [Float]) -> Float { zip(first, second).map { abs($0 - $1) }.max()! }
    let long = given.configuration.reaching(sequence.count)
    #expect(long.contextLength == sequence.count && long.rotary.originalContext == nil)
    let (wanted, beginning) = (try #require(given.logProbs.last), Array(sequence.prefix(10)))
    let (whole, first) = (try logProbs(long, sequence), try logProbs(long, beginning))
    #expect(difference(whole, wanted) <= 1e-4 && difference(first, wanted) <= 1e-4)
    let own = try logProbs(given.configuration, beginning)
    #expect(difference(own, wanted) > 1e-3)
  }
}
