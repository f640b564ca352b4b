import Checkpoints
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// The layer that predicts tokens further on is a part of the model that asks for it. What it computes is compared with
/// PyTorch where it drafts.
@Suite struct PredictionLayerTests {
  private static func model(_ name: String) throws -> (CausalLM, HuggingFaceFolder) {
    let folder = try HuggingFaceFolder(fixture("drafts/\(name)/model"))
    let configuration = try ModelRegistry.configuration(of: folder).withPredictionLayers()
    return (try CausalLM(configuration, parallel: .single(), dtype: .float32), folder)
  }

  @Test(arguments: ["deepseek-nextn", "glm-nextn", "mimo-nextn"]) func isDeclaredAndTrained(_ name: String) throws {
    let (model, folder) = try Self.model(name)
    let plain = try CausalLM(ModelRegistry.configuration(of: folder), parallel: .single(), dtype: .float32)
    let own = model.table.parameters.filter { $0.name.hasPrefix("model.layers.2.") }
    #expect(model.table.parameters.map(\.name).filter { !$0.hasPrefix("model.layers.2.") } == plain.table.parameters.map(\.name))
    #expect(plain.parametersByBlock.root.map(\.name) == model.parametersByBlock.root.map(\.name))
    #expect(model.parametersByBlock.blocks.count == 3 && model.parametersByBlock.blocks[2].map(\.name) == own.map(\.name))
    let stored = Set(try folder.weights().names.filter(model.configuration.isOfPredictionLayer))
    let copies: Set = ["model.layers.2.embed_tokens.weight", "model.layers.2.shared_head.head.weight"]
    #expect(Set(own.flatMap(\.pieces).map { model.configuration.storedPart($0).name }) == stored.subtracting(copies))
    try catchingTorchErrors {
      try model.load(folder, dtype: .float32, device: .cpu)
      for parameter in model.table.parameters { parameter.tensor.requiresGrad = parameter.isLearned }
      let tokens = Tensor((0..<12).map { $0 * 5 % 61 })
      func context(_ count: Int) -> ForwardContext {
        ForwardContext(positions: .arange(count), attention: PackedAttention(lengths: [count], device: .cpu))
      }
      var first = context(12)
      first.layerInputs = LayerInputs(model.configuration.predictionInputs)
      let output = model.hidden(tokens, first)
      let hidden = first.layerInputs!.tensors.first ?? output
      let next = model.predicted(tokens[1..<12], hidden: hidden[0..<11], context(11))
      let targets = tokens[2..<12]
      let statistics = model.statistics(next, at: .arange(10), targets: targets, temperature: 1)
      (-statistics.logProbs.mean()).backward()
      for parameter in own where parameter.isLearned {
        let gradient = try #require(parameter.tensor.grad, "\(parameter.name) has no gradient")
        #expect(gradient.abs().max().item() > 0 || parameter.name.contains("experts"), "\(parameter.name)")
      }
    }
  }

  @Test func modelsWithoutSayWhy() throws {
    let configuration = try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("models/deepseek-v3-no-query-rank")))
    let error = #expect(throws: ModelError.self) { try configuration.withPredictionLayers() }
    #expect("\(error!)".contains("num_nextn_predict_layers"))
  }
}
