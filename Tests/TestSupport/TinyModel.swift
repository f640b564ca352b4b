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

/// Writes a folder of a Qwen3-VL of two small layers with random weights, whose tokenizer knows `<|image_pad|>`.
public func writeTinyVisionModel(to folder: URL) throws {
  try writeTinyModel(to: folder)
  let config: JSONValue = [
    "architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "image_token_id": 401,
    "tie_word_embeddings": true, "torch_dtype": "float32",
    "text_config": [
      "vocab_size": 416, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
      "num_key_value_heads": 2, "head_dim": 8, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000,
      "max_position_embeddings": 256, "initializer_range": 0.2, "eos_token_id": 400,
      "rope_scaling": ["rope_type": "default", "mrope_interleaved": true, "mrope_section": [2, 1, 1]],
    ],
    "vision_config": [
      "depth": 2, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 4, "out_hidden_size": 32,
      "num_position_embeddings": 16, "deepstack_visual_indexes": [0], "initializer_range": 0.2,
    ],
  ]
  let processor: JSONValue = ["patch_size": 4, "merge_size": 2, "size": ["shortest_edge": 64, "longest_edge": 1024]]
  let template = "{%- for message in messages -%}{{ message.role + ':' }}"
    + "{%- if message.content is string -%}{{ message.content }}{%- else -%}{%- for part in message.content -%}"
    + "{%- if part.type == 'image' -%}{{ '<|image_pad|>' }}{%- else -%}{{ part.text }}{%- endif -%}{%- endfor -%}{%- endif -%}"
    + "{{ '\\n' }}{%- endfor -%}{%- if add_generation_prompt -%}{{ 'assistant:' }}{%- endif -%}"
  var tokenizer = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("tokenizer.json"))).object!
  tokenizer["added_tokens"] = .array(
    tokenizer["added_tokens"]!.array! + [
      [
        "id": 401, "content": "<|image_pad|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true,
      ]
    ])
  let files: [(String, JSONValue)] = [
    ("config.json", config), ("preprocessor_config.json", processor), ("tokenizer.json", .object(tokenizer)),
    (
      "tokenizer_config.json",
      [
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|x|>", "pad_token": "<|x|>",
        "chat_template": .string(template),
      ]
    ),
  ]
  for (name, value) in files { try value.data(.indented(2)).write(to: folder.appendingPathComponent(name)) }
  try writeRandomWeights(config, to: folder, seed: 0)
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
