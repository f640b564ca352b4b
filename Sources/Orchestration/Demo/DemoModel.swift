import Checkpoints
import Foundation
import JSON
import Models
import Torch

/// A small Qwen3 with fresh weights and a byte-level tokenizer, as a Hugging Face folder.
package enum DemoModel {
  private static let specialTokens = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
  /// What the byte-level BPE merges into one token besides single bytes.
  private static let answerHead = "\\boxed{"

  package static func write(to folder: URL, seed: Int) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let vocabulary = self.vocabulary
    let config = config(vocabularySize: vocabulary.count + specialTokens.count)
    let files: [(String, JSONValue)] = [
      ("config.json", config), ("tokenizer.json", tokenizer(vocabulary)), ("tokenizer_config.json", tokenizerConfig),
      ("generation_config.json", ["eos_token_id": .int(vocabulary.count + 3), "pad_token_id": .int(vocabulary.count)]),
    ]
    for (name, value) in files { try value.data(.indented(2)).write(to: folder.appendingPathComponent(name)) }
    let model = try CausalLM(
      ModelRegistry.configuration(config, source: "the demo's config.json"), parallel: .single(), dtype: .float32)
    try catchingTorchErrors {
      model.initialize(seed: UInt64(bitPattern: Int64(seed)))
      try model.save(to: folder)
    }
  }

  private static func config(vocabularySize: Int) -> JSONValue {
    [
      "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": .int(vocabularySize),
      "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4,
      "num_key_value_heads": 2, "head_dim": 32, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000,
      "max_position_embeddings": 128, "tie_word_embeddings": true, "attention_bias": false, "initializer_range": 0.04,
      "bos_token_id": .null, "eos_token_id": .int(vocabularySize - 1), "torch_dtype": "float32",
    ]
  }

  /// The 256 bytes as byte-level BPE writes them, then the merges of `answerHead`.
  private static var vocabulary: [String] {
    let printable = Set(Array(33...126) + Array(161...172) + Array(174...255))
    var next: UInt32 = 256
    let bytes = (0..<256).map { (byte: Int) -> String in
      if printable.contains(byte) { return String(Unicode.Scalar(UInt8(byte))) }
      defer { next += 1 }
      return String(Unicode.Scalar(next)!)
    }
    return bytes + merges.map { $0.0 + $0.1 }
  }

  private static var merges: [(String, String)] {
    let characters = answerHead.map(String.init)
    return (1..<characters.count).map { (characters[..<$0].joined(), characters[$0]) }
  }

  private static func tokenizer(_ vocabulary: [String]) -> JSONValue {
    let added: [JSONValue] = specialTokens.enumerated().map { index, text in
      [
        "id": .int(vocabulary.count + index), "content": .string(text), "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true,
      ]
    }
    return [
      "version": "1.0", "truncation": .null, "padding": .null, "added_tokens": .array(added), "normalizer": .null,
      "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false],
      "post_processor": .null,
      "decoder": ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true],
      "model": [
        "type": "BPE", "dropout": .null, "unk_token": .null, "continuing_subword_prefix": .null,
        "end_of_word_suffix": .null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": .object(JSONObject(vocabulary.enumerated().map { ($1, .int($0)) })),
        "merges": .array(merges.map { [.string($0.0), .string($0.1)] }),
      ],
    ]
  }

  private static let tokenizerConfig: JSONValue = [
    "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": .null, "eos_token": "<|end|>",
    "pad_token": "<|endoftext|>", "clean_up_tokenization_spaces": false, "model_max_length": 128,
    "chat_template": .string(
      "{%- for message in messages -%}{{ '<|' + message.role + '|>' + message.content }}"
        + "{%- if message.role == 'assistant' -%}{{ '<|end|>' }}{%- endif -%}{%- endfor -%}"
        + "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"),
  ]
}
