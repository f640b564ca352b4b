import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import Torch

/// A model with random weights, of a shape that a benchmark wants.
struct BenchmarkModel {
  var vocabularySize: Int
  var hiddenSize: Int
  var intermediateSize: Int
  var layerCount: Int
  var headCount: Int
  var keyValueHeadCount: Int
  var contextLength = 2048

  static let tiny = BenchmarkModel(
    vocabularySize: 256, hiddenSize: 32, intermediateSize: 48, layerCount: 2, headCount: 4, keyValueHeadCount: 2)

  /// 104 million parameters.
  static let small = BenchmarkModel(
    vocabularySize: 32_000, hiddenSize: 768, intermediateSize: 2048, layerCount: 12, headCount: 12, keyValueHeadCount: 4)

  var config: JSONValue {
    [
      "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": .int(vocabularySize),
      "hidden_size": .int(hiddenSize), "intermediate_size": .int(intermediateSize), "num_hidden_layers": .int(layerCount),
      "num_attention_heads": .int(headCount), "num_key_value_heads": .int(keyValueHeadCount),
      "head_dim": .int(hiddenSize / headCount), "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000,
      "max_position_embeddings": .int(contextLength), "tie_word_embeddings": true, "torch_dtype": "float32",
    ]
  }

  func write(to folder: URL) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try config.data(.indented(2)).write(to: folder.appendingPathComponent("config.json"))
    let model = try ModelRegistry.configuration(config, source: "the benchmark's config.json")
      .model(parallel: .single(), dtype: .float32)
    try catchingTorchErrors {
      model.initialize(seed: 1)
      try model.save(to: folder)
    }
  }
}

/// Runs what blocks on a thread of its own.
public func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
  try await withCheckedThrowingContinuation { continuation in
    Thread { continuation.resume(with: Result { try body() }) }.start()
  }
}
