import Checkpoints
import Foundation
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// Log-probabilities, entropy, logits and all gradients against `transformers` on the same weights and tokens (fp32).
@Suite struct ParityTests {
  static let names = [
    "llama2", "llama3-gqa", "llama31-rope-scaling", "llama32-rope-parameters-tied", "llama-biases-3-heads",
    "llama-head-dim-5-heads", "llama-rope-linear", "qwen2", "qwen25-tied", "qwen25-yarn", "qwen3-tied",
    "qwen3-untied-3-heads", "qwen3-attention-bias", "qwen3-sharded", "qwen3-moe", "qwen3-moe-top-1-tied",
    "qwen3-moe-stacked", "qwen2-moe", "deepseek-v3", "deepseek-v3-no-query-rank", "glm4-moe",
  ]

  @Test(arguments: names) func matchesTransformers(_ name: String) throws {
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
      var seen = Set<String>()
      for parameter in model.table.parameters where parameter.isLearned {
        let gradient = try #require(parameter.tensor.grad, "\(parameter.name) has no gradient")
        for (name, part) in checkpointTensors(parameter, gradient) {
          let wanted = try reference.tensor("gradient.\(name)")
          let error = (part - wanted).vectorNorm().item() / max(wanted.vectorNorm().item(), 1e-12)
          #expect(error < 1e-4, "gradient of \(name): relative error \(error)")
          seen.insert("gradient.\(name)")
        }
      }
      let all = Set(reference.tensors.map(\.name).filter { $0.hasPrefix("gradient.") })
      #expect(seen == all)
    }
  }

  private func expectClose(_ found: Tensor, _ wanted: Tensor, _ tolerance: Double, _ what: String) {
    #expect(found.shape == wanted.shape)
    let error = (found - wanted).abs().max().item()
    #expect(error <= tolerance, "\(what): largest difference \(error)")
  }

  @Test func dynamicScalingIsRefused() throws {
    let folder = try HuggingFaceFolder(fixture("models/llama-rope-dynamic"))
    #expect(throws: ModelError.self) { try ModelRegistry.configuration(of: folder) }
  }
}
