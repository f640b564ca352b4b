import Checkpoints
import Foundation
import JSON
import Models
import Torch

/// Writes a model folder: a Qwen3 of two small layers with random weights, and the byte-level tokenizer of the fixtures with
/// a chat template. Equal seeds give equal folders.
public func writeTinyModel(to folder: URL, seed: UInt64 = 0, contextLength: Int = 256) throws {
  let files = FileManager.default
  try files.createDirectory(at: folder, withIntermediateDirectories: true)
  let config: JSONValue = [
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 416, "hidden_size": 32,
    "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000, "max_position_embeddings": .int(contextLength),
    "tie_word_embeddings": true, "attention_bias": false, "initializer_range": 0.2, "bos_token_id": nil,
    "eos_token_id": 400, "torch_dtype": "float32",
  ]
  let tokenizerConfig: JSONValue = [
    "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|x|>", "pad_token": "<|x|>",
    "chat_template": .string(
      "{%- for message in messages -%}{{ message.role + ':' + message.content + '\\n' }}{%- endfor -%}"
        + "{%- if add_generation_prompt -%}{{ 'assistant:' }}{%- endif -%}"),
  ]
  let texts: [(String, JSONValue)] = [
    ("config.json", config), ("tokenizer_config.json", tokenizerConfig), ("generation_config.json", ["eos_token_id": 400]),
  ]
  for (name, value) in texts { try value.data(.indented(2)).write(to: folder.appendingPathComponent(name)) }
  try files.copyItem(
    at: fixture("Tokenization/tokenizers/byte/tokenizer.json"), to: folder.appendingPathComponent("tokenizer.json"))
  try writeRandomWeights(config, to: folder, seed: seed)
}

/// Writes a folder with this config.json and random weights, and nothing else.
public func writeRandomModel(_ config: JSONValue, to folder: URL, seed: UInt64 = 0) throws {
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  try config.data(.indented(2)).write(to: folder.appendingPathComponent("config.json"))
  try writeRandomWeights(config, to: folder, seed: seed)
}

private func writeRandomWeights(_ config: JSONValue, to folder: URL, seed: UInt64) throws {
  let model = try ModelRegistry.configuration(config, source: "a test's config.json")
    .model(parallel: .single(), dtype: .float32)
  try catchingTorchErrors {
    model.initialize(seed: seed)
    try model.save(to: folder)
  }
}
