import Checkpoints
import Foundation
import JSON
import TestSupport
import Testing

/// The order in which `transformers` lists a two-layer Qwen3's weights.
private let qwen3Order: [String] =
  ["model.embed_tokens"]
  + (0..<2).flatMap { layer in
    ([
      "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "self_attn.q_norm", "self_attn.k_norm",
      "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm",
    ]).map { "model.layers.\(layer).\($0)" }
  } + ["model.norm", "lm_head"]

private func sources(of weights: WeightFiles) throws -> [TensorSource] {
  try qwen3Order.map { name in
    let name = name + ".weight"
    return TensorSource(try weights.description(of: name).specification) { try $0(try weights.bytes(of: name)) }
  }
}

@Suite struct HuggingFaceFolderTests {
  @Test func readsConfigurationAndTokens() throws {
    let llama = try HuggingFaceFolder(fixture("models/llama31-rope-scaling"))
    #expect(llama.config["model_type"]?.string == "llama")
    #expect(llama.endOfSequenceTokenIDs == [2, 5, 7])
    #expect(try HuggingFaceFolder(fixture("models/llama2")).endOfSequenceTokenIDs == [2])
    // What config.json says of the language model counts where nothing else does.
    try withTemporaryFolder { folder in
      try FileManager.default.copyItem(
        at: fixture("vision/qwen3.5/config.json"), to: folder.appendingPathComponent("config.json"))
      #expect(try HuggingFaceFolder(folder).endOfSequenceTokenIDs == [2])
    }
  }

  @Test func shardsAreThoseOfTransformers() throws {
    let original = fixture("models/qwen3-sharded")
    let source = try HuggingFaceFolder(original)
    let weights = try source.weights()
    #expect(weights.files.count == 5)
    #expect(weights.names.count == qwen3Order.count)
    try withTemporaryFolder { parent in
      let copy = parent.appendingPathComponent("new/copy")
      try HuggingFaceFolder.save(
        to: copy, config: source.config, tensors: sources(of: weights), copyingFrom: source, maximumShardBytes: 20_000)
      let written = try FileManager.default.contentsOfDirectory(atPath: copy.path).sorted()
      let expected = try FileManager.default.contentsOfDirectory(atPath: original.path).sorted()
      #expect(written == expected.filter { $0 != "reference.safetensors" })
      for name in written {
        let (a, b) = (copy.appendingPathComponent(name), original.appendingPathComponent(name))
        #expect(try Data(contentsOf: a) == Data(contentsOf: b), "\(name)")
      }

      // Saved again as one file, over the shards.
      try HuggingFaceFolder.save(to: copy, config: source.config, tensors: sources(of: weights), copyingFrom: source)
      let single = try HuggingFaceFolder(copy).weights()
      #expect(single.files.map(\.url.lastPathComponent) == ["model.safetensors"])
      for name in weights.names { #expect(try Array(single.bytes(of: name)) == Array(weights.bytes(of: name))) }
      #expect(try FileManager.default.contentsOfDirectory(atPath: parent.appendingPathComponent("new").path) == ["copy"])
    }
  }

  @Test func tokenizerFilesGoAlong() throws {
    try withTemporaryFolder { parent in
      let original = parent.appendingPathComponent("original")
      try FileManager.default.copyItem(at: fixture("models/qwen3-sharded"), to: original)
      for name in ["tokenizer.json", "chat_template.jinja", "README.md", "modeling.py"] {
        try Data(name.utf8).write(to: original.appendingPathComponent(name))
      }
      let source = try HuggingFaceFolder(original)
      #expect(source.tokenizerFiles.map(\.lastPathComponent) == ["chat_template.jinja", "tokenizer.json"])
      let copy = parent.appendingPathComponent("copy")
      try HuggingFaceFolder.save(to: copy, config: source.config, tensors: sources(of: source.weights()), copyingFrom: source)
      #expect(try FileManager.default.contentsOfDirectory(atPath: copy.path).sorted() == [
        "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
      ])
      let text = try Data(contentsOf: copy.appendingPathComponent("tokenizer.json"))
      #expect(text == Data("tokenizer.json".utf8))
    }
  }

  /// A save that stops leaves the old model, and nothing that looks like a new one.
  @Test func anInterruptedSaveChangesNothing() throws {
    struct Stop: Error {}
    try withTemporaryFolder { parent in
      let source = try HuggingFaceFolder(fixture("models/qwen3-sharded"))
      var tensors = try sources(of: source.weights())
      let destination = parent.appendingPathComponent("model")
      try HuggingFaceFolder.save(to: destination, config: source.config, tensors: tensors)
      let before = try Data(contentsOf: destination.appendingPathComponent("model.safetensors"))
      tensors[7] = TensorSource(tensors[7].specification) { _ in throw Stop() }
      #expect(throws: Stop.self) {
        try HuggingFaceFolder.save(to: destination, config: [:], tensors: tensors, maximumShardBytes: 20_000)
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: parent.path) == ["model"])
      #expect(try Data(contentsOf: destination.appendingPathComponent("model.safetensors")) == before)

      // A folder of someone's other things is not replaced.
      let other = parent.appendingPathComponent("other")
      try FileManager.default.createDirectory(at: other, withIntermediateDirectories: true)
      try Data().write(to: other.appendingPathComponent("thesis.tex"))
      #expect(throws: CheckpointError.self) { try HuggingFaceFolder.save(to: other, config: [:], tensors: []) }
      #expect(FileManager.default.fileExists(atPath: other.appendingPathComponent("thesis.tex").path))
    }
  }
}

@Suite struct BrokenFolderTests {
  /// What goes wrong when one file of a sharded model is removed, cut or changed.
  private func message(after damage: (URL) throws -> Void) throws -> String {
    try withTemporaryFolder { parent in
      let folder = parent.appendingPathComponent("m")
      try FileManager.default.copyItem(at: fixture("models/qwen3-sharded"), to: folder)
      try damage(folder)
      let error = #expect(throws: CheckpointError.self) { try HuggingFaceFolder(folder).weights() }
      return (error?.description ?? "").replacingOccurrences(of: folder.path, with: "m")
    }
  }

  @Test func absentFiles() throws {
    #expect(try message { try FileManager.default.removeItem(at: $0) }
      == "m: there is no such folder; a model of the Hugging Face Hub must be downloaded first (hf download NAME)")
    #expect(try message { try FileManager.default.removeItem(at: $0.appendingPathComponent("config.json")) }
      == "m: there is no config.json in this folder, which holds generation_config.json, model-00001-of-00005.safetensors, "
      + "model-00002-of-00005.safetensors, model-00003-of-00005.safetensors, model-00004-of-00005.safetensors, "
      + "model-00005-of-00005.safetensors, model.safetensors.index.json, reference.safetensors; "
      + "a model folder has config.json and model.safetensors or its shards")
    #expect(try message {
      try FileManager.default.removeItem(at: $0.appendingPathComponent("model-00003-of-00005.safetensors"))
    }.hasPrefix(
      "m/model.safetensors.index.json: 1 of 5 shards are missing: model-00003-of-00005.safetensors, the first of which holds 'model.layers."))
    #expect(try message {
      for name in try FileManager.default.contentsOfDirectory(atPath: $0.path) where name != "config.json" {
        try FileManager.default.removeItem(at: $0.appendingPathComponent(name))
      }
    } == "m: there are no weights in this folder, which holds config.json; needed is model.safetensors, or "
      + "model.safetensors.index.json with its shards; check that the download or the save was complete")
  }

  @Test func damagedFiles() throws {
    #expect(try message { try Data("{".utf8).write(to: $0.appendingPathComponent("config.json")) }
      == "m/config.json: invalid JSON at byte 1: a key must be a string")
    #expect(try message { try Data("[1]".utf8).write(to: $0.appendingPathComponent("config.json")) }
      == "m/config.json: the file holds an array, not a JSON object")
    #expect(try message { truncate($0.appendingPathComponent("model-00002-of-00005.safetensors").path, 4000) }
      .hasSuffix("but the file ends after 4000; it is truncated"))
    #expect(try message { folder in
      let index: JSONValue = ["weight_map": ["lm_head.weight": "model-00001-of-00005.safetensors"]]
      try index.data().write(to: folder.appendingPathComponent("model.safetensors.index.json"))
    } == "m/model-00001-of-00005.safetensors: tensor 'lm_head.weight' is not in this shard, "
      + "though model.safetensors.index.json says so")
    #expect(try message { folder in
      let index: JSONValue = ["weight_map": ["lm_head.weight": "../model-00001-of-00005.safetensors"]]
      try index.data().write(to: folder.appendingPathComponent("model.safetensors.index.json"))
    } == "m/model.safetensors.index.json: the entry of tensor 'lm_head.weight' is not the name of a file in this folder")
  }

  @Test func absentTensor() throws {
    let weights = try HuggingFaceFolder(fixture("models/qwen3-tied")).weights()
    let error = #expect(throws: CheckpointError.self) { try weights.check("lm_head.weight", shape: [97, 32]) }
    #expect(error?.description.hasSuffix(
      "there is no tensor 'lm_head.weight' among the 24 tensors of model.safetensors") == true)
  }
}
