import Foundation
import JSON
import Orchestration
import SlimeCLI
import TestSupport
import Testing

/// `slime inspect`, in this process.
@Suite struct InspectionTests {
  private func inspect(_ folder: URL) throws -> Inspection {
    var configuration = InspectConfiguration()
    configuration.folder = folder.path
    return try Inspection(configuration)
  }

  private func complaint(_ folder: URL) -> String {
    do { return try "accepted: \(inspect(folder).parameterCount)" } catch {
      #expect((error as? any ExitCodeError)?.exitCode == 2, "\(error)")
      return "\(error)"
    }
  }

  /// Counts of tensors' sizes in the files themselves are another way to the same sums.
  @Test(arguments: [
    "models/qwen3-moe", "models/deepseek-v3", "models/llama3-gqa", "models/gemma2", "models/gpt-oss", "models/gpt2",
    "models/qwen3-next-3-heads-tied", "vision/qwen3-vl", "vision/qwen3.5-3-heads-tied", "vision/qwen3.5-moe-1-expert-tied",
  ])
  func parametersAreThoseOfTheFiles(_ name: String) throws {
    let inspection = try inspect(fixture(name))
    let weights = try #require(inspection.weights)
    #expect(weights.bytes["F32"] == 4 * inspection.parameterCount || name == "models/gpt2" || inspection.architecture.predictionLayers > 0)
    #expect(inspection.parameters.reduce(0) { $0 + $1.total } == inspection.parameterCount)
    #expect(!inspection.parameters.contains { $0.kind == "other" })
    let kinds = Set(inspection.parameters.map(\.kind))
    #expect(kinds.isSuperset(of: ["embedding", "attention", "norms"]))
    #expect(kinds.contains("experts") == (inspection.architecture.experts != nil))
    #expect(kinds.contains("vision tower") == name.hasPrefix("vision/"))
    #expect(kinds.contains("head") != inspection.architecture.tiesEmbeddings)
    #expect(inspection.report.contains("parameters"))
  }

  @Test func aWholeFolder() throws {
    try withTemporaryFolder { folder in
      try writeTinyModel(to: folder)
      let inspection = try inspect(folder)
      let tokenizer = try #require(inspection.tokenizer)
      #expect(tokenizer.fitsModel && tokenizer.vocabularySize <= inspection.architecture.vocabularySize)
      let (training, count) = (inspection.training, inspection.parameterCount)
      #expect((training.weights, training.gradients) == (2 * count, 4 * count))
      #expect(training.optimizer >= 12 * count && training.recomputedActivations < training.activations)
      #expect(inspection.layouts.megatron.tensor.first == 1 && inspection.layouts.fsdp != nil)
      // A tokenizer with more ids than the model has rows.
      var config = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("config.json"))).object!
      config["vocab_size"] = .int(tokenizer.vocabularySize - 1)
      try FileManager.default.removeItem(at: folder.appendingPathComponent("model.safetensors"))
      try JSONValue.object(config).data().write(to: folder.appendingPathComponent("config.json"))
      let smaller = try inspect(folder)
      #expect(smaller.weights == nil && smaller.tokenizer?.fitsModel == false && smaller.report.contains("DOES NOT FIT"))
    }
  }

  /// 6 heads in 2 groups, 4 layers, 6 experts.
  @Test func sizesThatDivide() throws {
    try withTemporaryFolder { folder in
      let config: JSONValue = [
        "model_type": "qwen3_moe", "vocab_size": 128, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 6,
        "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": 12, "moe_intermediate_size": 12, "num_experts": 6,
        "num_experts_per_tok": 2, "torch_dtype": "bfloat16",
      ]
      try config.data().write(to: folder.appendingPathComponent("config.json"))
      let layouts = try inspect(folder).layouts
      // 3 neither divides 2 heads of keys and values nor is a multiple of them.
      #expect(layouts.megatron.tensor == [1, 2, 6])
      #expect(layouts.megatron.pipeline == [1, 2, 4] && layouts.megatron.expert == [1, 2, 3, 6])
      #expect(layouts.fsdp?.expert == [1, 2, 3, 6] && layouts.fsdp?.tensor == [1])
      #expect(layouts.engine.tensor == [1, 2, 6] && layouts.engine.expert == [1, 2, 6])
    }
  }

  @Test func whatIsWrongIsNamed() throws {
    try withTemporaryFolder { root in
      let files = FileManager.default
      let whole = root.appendingPathComponent("whole")
      try files.copyItem(at: fixture("models/qwen3-sharded"), to: whole)
      let shards = try files.contentsOfDirectory(atPath: whole.path).filter { $0.hasPrefix("model-") }.sorted()
      #expect(shards.count > 1)
      func changed(_ change: (URL) throws -> Void) throws -> String {
        let copy = root.appendingPathComponent(UUID().uuidString)
        try files.copyItem(at: whole, to: copy)
        try change(copy)
        return complaint(copy)
      }
      let missing = try changed { copy in
        for shard in shards.prefix(2) { try files.removeItem(at: copy.appendingPathComponent(shard)) }
      }
      #expect(missing.contains(shards[0]) && missing.contains(shards[1]) && missing.contains("missing"), "\(missing)")
      let cut = try changed { copy in
        let file = copy.appendingPathComponent(shards[1])
        try Data(contentsOf: file).dropLast(1).write(to: file)
      }
      #expect(cut.contains(shards[1]) && cut.contains("truncated"), "\(cut)")
      let unknown = try changed { try Data(#"{"model_type": "qwen33"}"#.utf8).write(to: $0.appendingPathComponent("config.json")) }
      #expect(unknown.contains("'qwen33'") && unknown.contains("nearest are qwen3"), "\(unknown)")
      let broken = try changed { try Data("{".utf8).write(to: $0.appendingPathComponent("tokenizer.json")) }
      #expect(broken.contains("tokenizer.json"), "\(broken)")
      #expect(complaint(root.appendingPathComponent("nowhere")).contains("there is no such folder"))
    }
  }
}
