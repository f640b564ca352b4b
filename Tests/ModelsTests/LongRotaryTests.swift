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
    #expect(given.configuration.sequenceLimit == nil && given.configuration.cacheLimit == 12)
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
}
