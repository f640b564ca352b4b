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

  /// Of Qwen3-Next and Qwen3.5 beside the model, whatever its other layers are called: the experts of a layer as one with a tower.
  @Test(arguments: [("qwen3.5-moe", "mtp.layers.0.mlp.experts.gate_up_proj"), ("qwen3.5", "mtp.layers.0.mlp.up_proj.weight")])
  func namesBesideTheModel(_ name: String, _ inside: String) throws {
    let folder = try HuggingFaceFolder(fixture("vision/\(name)"))
    let text = try #require(folder.config["text_config"]).setting("mtp_num_hidden_layers", to: 1)
    let config = folder.config.setting("text_config", to: text)
    let configuration = try ModelRegistry.configuration(config, source: "a test").withPredictionLayers()
    let model = try configuration.model(parallel: .single(), dtype: .float32)
    let pieces = model.table.parameters.filter { configuration.isOfPredictionLayer($0.name) }.flatMap(\.pieces)
    let names = Set(pieces.map { configuration.storedPart($0).name })
    #expect(names.allSatisfy { $0.hasPrefix("mtp.") && configuration.isOfPredictionLayer($0) })
    #expect(names.isSuperset(of: [
      "mtp.fc.weight", "mtp.norm.weight", "mtp.pre_fc_norm_embedding.weight", "mtp.pre_fc_norm_hidden.weight", inside,
      "mtp.layers.0.self_attn.q_proj.weight", "mtp.layers.0.input_layernorm.weight",
    ]))
    #expect(pieces.contains { $0.checkpointName.hasSuffix("self_attn.q_gate.weight") })
    // Several share what stands around their blocks, which is not built.
    let two = config.setting("text_config", to: text.setting("mtp_num_hidden_layers", to: 2))
    #expect(throws: ModelError.self) { try ModelRegistry.configuration(two, source: "a test").withPredictionLayers() }
  }

  @Test func modelsWithoutSayWhy() throws {
    let configuration = try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("models/deepseek-v3-no-query-rank")))
    let error = #expect(throws: ModelError.self) { try configuration.withPredictionLayers() }
    #expect("\(error!)".contains("num_nextn_predict_layers"))
  }
}
