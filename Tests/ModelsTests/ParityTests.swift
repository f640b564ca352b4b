import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// Log-probabilities, entropy, logits and all gradients against `transformers` on the same weights and tokens (fp32).
@Suite struct ParityTests {
  @Test(arguments: modelFixtures) func matchesTransformers(_ name: String) throws {
    let url = fixture("models/\(name)")
    let folder = try HuggingFaceFolder(url)
    let reference = try SafetensorsFile(url.appendingPathComponent("reference.safetensors"))
    let model = try CausalLM(ModelRegistry.configuration(of: folder), parallel: .single(), dtype: .float32)
    try catchingTorchErrors {
      try model.load(folder, dtype: .float32, device: .cpu)
      for parameter in model.table.parameters { parameter.tensor.requiresGrad = parameter.isLearned }
      let tokens = try reference.tensor("tokens")
      let bounds: [Int] = try reference.tensor("cu_seqlens").array()
      let lengths = zip(bounds, bounds.dropFirst()).map { $1 - $0 }
      let positions = Tensor(lengths.flatMap { Array(0..<$0) })
      let context = ForwardContext(
        positions: positions, attention: PackedAttention(lengths: lengths, device: .cpu))
      let hidden = model.hidden(tokens, context)
      let logits = model.logits(hidden)

      let kept = try reference.tensor("logits_sequence").intItem()
      let range = bounds[kept]..<bounds[kept + 1]
      expectClose(logits[range], try reference.tensor("logits"), 1e-4, "logits")

      let predicting = Tensor(zip(bounds, bounds.dropFirst()).flatMap { Array($0..<$1 - 1) })
      let statistics = vocabularyLogProbs(
        logits: logits.indexSelect(0, index: predicting), from: 0, targets: tokens.indexSelect(0, index: predicting + 1),
        group: .single())
      expectClose(statistics.logProbs, try reference.tensor("log_probs"), 1e-4, "log-probabilities")
      expectClose(statistics.entropy, try reference.tensor("entropy"), 1e-4, "entropy")

      let loss = -statistics.logProbs.mean()
      loss.backward()
      try expectGradients(of: model, reference)
    }
  }

  private func expectClose(_ found: Tensor, _ wanted: Tensor, _ tolerance: Double, _ what: String) {
    #expect(found.shape == wanted.shape)
    let error = (found - wanted).abs().max().item()
    #expect(error <= tolerance, "\(what): largest difference \(error)")
  }

  /// What is saved has the names, shapes and values of what was loaded, and loads again.
  @Test(arguments: modelFixtures.map { "models/\($0)" } + visionFixtures.map { "vision/\($0)" })
  func savedIsWhatWasLoaded(_ name: String) throws {
    try withTemporaryFolder { saved in
      let folder = try HuggingFaceFolder(fixture(name))
      let configuration = try ModelRegistry.configuration(of: folder)
      let model = try CausalLM(configuration, parallel: .single(), dtype: .float32)
      try catchingTorchErrors {
        try model.load(folder, dtype: .float32, device: .cpu)
        try model.save(to: saved)
        try folder.config.setting("quantization_config", to: nil).data(.compact).write(to: saved.appendingPathComponent("config.json"))
        let again = try CausalLM(configuration, parallel: .single(), dtype: .float32)
        try again.load(HuggingFaceFolder(saved), dtype: .float32, device: .cpu)
        for (first, second) in zip(model.table.parameters, again.table.parameters) {
          #expect(first.tensor.equal(second.tensor), "\(first.name)")
        }
        // Tensors that are kept as they are saved are the same.
        let (before, after) = (try folder.weights(), try HuggingFaceFolder(saved).weights())
        let same = try after.names.filter {
          try before.contains($0) && before.description(of: $0).shape == after.description(of: $0).shape
        }
        for name in same { #expect(try before.tensor(name).equal(after.tensor(name)), "\(name)") }
        #expect(!same.isEmpty || ["models/gpt2", "models/gemma3-eyes-untied", "vision/qwen2.5-vl-tied"].contains(name))
      }
    }
  }

  /// Every family is here at least twice.
  @Test func everyFamilyHasFixtures() throws {
    let folders = modelFixtures.map { "models/\($0)" } + visionFixtures.map { "vision/\($0)" }
    let types = try folders.map { try ModelRegistry.configuration(of: HuggingFaceFolder(fixture($0))).modelType }
    let counts = Dictionary(grouping: types) { $0 }.mapValues(\.count)
    for type in ModelRegistry.modelTypes where type != "kimi_k2" { #expect(counts[type, default: 0] >= 2, "\(type)") }
  }

  /// What a configuration asks for and is not built is named.
  @Test(arguments: [
    ("llama2", ["hidden_act": "swishy"], "hidden_act = 'swishy'"),
    ("llama2", ["rope_scaling": ["rope_type": "spiral", "factor": 2]], "'spiral'"),
    ("llama2", ["quantization_config": ["quant_method": "bits"]], "bits"),
    ("llama2", ["partial_rotary_factor": 0.5], "partial_rotary_factor"),
    ("llama2", ["model_type": "lama"], "nearest are llama"),
    ("gemma3", ["use_bidirectional_attention": true], "use_bidirectional_attention"),
    ("gemma2", ["layer_types": ["full_attention", "round_attention", "full_attention"]], "'round_attention'"),
    ("deepseek-v2", ["topk_method": "best"], "topk_method = 'best'"),
    ("deepseek-v3", ["scoring_func": "tanh"], "scoring_func"),
    ("gpt-oss", ["quantization_config": ["quant_method": "awq"]], "awq"),
    ("qwen3-next", ["attn_output_gate": false], "attn_output_gate"),
    ("qwen3-next", ["linear_num_value_heads": 3], "linear_num_value_heads"),
    ("qwen35", ["layer_types": ["linear_attention", "linear_attention", "linear_attention", "round_attention"]], "'round_attention'"),
    ("gpt2", ["add_cross_attention": true], "add_cross_attention"),
    ("phi3-longrope", ["rope_scaling": ["type": "longrope", "long_factor": [1], "short_factor": [1]]], "short_factor"),
  ] as [(String, JSONValue, String)])
  func whatIsNotBuiltIsNamed(_ name: String, changes: JSONValue, complaint: String) throws {
    var config = try #require(try HuggingFaceFolder(fixture("models/\(name)")).config.object)
    for (key, value) in try #require(changes.object).pairs { config[key] = value }
    let error = #expect(throws: ModelError.self) {
      try ModelRegistry.configuration(.object(config), source: "a test").model(parallel: .single(), dtype: .float32)
    }
    #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
  }
}
