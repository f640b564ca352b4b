import Checkpoints
import Foundation
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// What is special about a family may exclude a way to run it, which is said by name when the model is made.
@Suite struct FamilyRefusalTests {
  private static func configuration(_ name: String) throws -> ModelConfiguration {
    try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("models/\(name)")))
  }

  private static func refusal(_ body: () throws -> Void) throws -> String {
    let error = #expect(throws: ModelError.self) { try body() }
    return try #require(error).description
  }

  @Test(arguments: [
    ("mistral-window", "sliding windows"), ("gemma2", "sliding windows"), ("gemma2-untied-no-caps", "sliding windows"),
    ("gpt-oss", "sliding windows"), ("gpt2", "GELU"), ("gpt-neox", "GELU"), ("minimax-m2", "norms across heads"),
    ("qwen3-next", "gated delta rule"), ("qwen35", "gated delta rule"),
  ])
  func deterministicModeNamesWhatItLacks(_ name: String, _ lack: String) throws {
    var parallel = ParallelContext.single()
    parallel.isDeterministic = true
    let configuration = try Self.configuration(name)
    let error = try Self.refusal { _ = try configuration.model(parallel: parallel, dtype: .float32) }
    #expect(error.contains(lack) && error.contains(configuration.modelType), "\(error)")
  }

  /// Other names do not hinder a family, nor tensors that hold several weights.
  @Test(arguments: [
    "mixtral", "minimax-m2", "deepseek-v2", "mistral", "phi3", "glm4", "gpt-oss", "gpt2", "gpt-neox", "qwen3-next", "qwen35-moe",
  ])
  func float8TakesAllFamilies(_ name: String) throws {
    let folder = try HuggingFaceFolder(fixture("models/\(name)"))
    let model = try Self.configuration(name).quantized(.fp8).model(parallel: .single(), dtype: .float32)
    try model.load(folder, dtype: .float32, device: .cpu)
    #expect(model.table.parameters.contains { $0.quantization != nil && $0.tensor.dtype == .float8e4m3 })
  }

  @Test func onlyItsFamilyReadsMXFP4() throws {
    let error = try Self.refusal {
      _ = try ModelRegistry.configuration(
        HuggingFaceFolder(fixture("models/llama2")).config.setting("quantization_config", to: ["quant_method": "mxfp4"]),
        source: "config.json")
    }
    #expect(error.contains("MXFP4"))
  }
}
