import Foundation
import JSON

/// A model folder as the Hugging Face Hub has them: config.json, generation_config.json, tokenizer files and weights.
public struct HuggingFaceFolder: Sendable {
  public let url: URL
  /// What config.json holds, always an object.
  public let config: JSONValue
  /// What generation_config.json holds; nil where there is none.
  public let generationConfig: JSONValue?

  public var configFile: URL { url.appendingPathComponent("config.json") }

  /// Reads the configuration; the weights are opened by `weights()`. Throws `CheckpointError`.
  public init(_ url: URL) throws {
    self.url = url
    guard isFolder(url) else {
      let exists = FileManager.default.fileExists(atPath: url.path)
      throw CheckpointError(
        url, exists
          ? "this is a file; give the folder that holds config.json and the weights"
          : "there is no such folder; a model of the Hugging Face Hub must be downloaded first (hf download NAME)")
    }
    let file = url.appendingPathComponent("config.json")
    guard FileManager.default.fileExists(atPath: file.path) else {
      throw CheckpointError(
        url, "there is no config.json in this folder, which holds \(sentence(listing(of: url))); "
          + "a model folder has config.json and \(WeightFiles.singleFile) or its shards")
    }
    config = .object(try readObject(file))
    let generation = url.appendingPathComponent("generation_config.json")
    generationConfig =
      FileManager.default.fileExists(atPath: generation.path) ? .object(try readObject(generation)) : nil
  }

  /// Whether there are weights here, or an index or files of another kind that says there should be.
  public var hasWeightFiles: Bool {
    listing(of: url).contains { name in
      [".safetensors", ".safetensors.index.json", ".bin", ".pt", ".pth"].contains(where: name.hasSuffix)
    }
  }

  public func weights() throws -> WeightFiles { try WeightFiles(in: url) }

  /// The tokens that end a response: `eos_token_id` of generation_config.json, else of config.json or what it says of the
  /// language model; a number or a list.
  public var endOfSequenceTokenIDs: [Int] {
    for value in [generationConfig, config, config["text_config"]].map({ $0?["eos_token_id"] }) {
      if let id = value?.int { return [id] }
      if let ids = value?.array?.compactMap(\.int), !ids.isEmpty { return ids }
    }
    return []
  }
}

// MARK: - Files that go along

extension HuggingFaceFolder {
  private static let tokenizerNames: Set<String> = [
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja", "chat_template.json", "additional_chat_templates",
  ]

  /// How pictures and films are prepared.
  private static let processorNames: Set<String> = [
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
  ]

  /// The tokenizer's files (and the folder of further chat templates, where there is one), sorted by name.
  public var tokenizerFiles: [URL] { files { Self.tokenizerNames.contains($0) } }

  /// What a saved copy of the model takes over unchanged: the tokenizer, the processor, generation_config.json, and the
  /// Python files that an `auto_map` in config.json refers to.
  public var companionFiles: [URL] {
    files { name in
      Self.tokenizerNames.contains(name) || Self.processorNames.contains(name) || name == "generation_config.json"
        || (name.hasSuffix(".py") && config["auto_map"] != nil)
    }
  }

  private func files(where isWanted: (String) -> Bool) -> [URL] {
    listing(of: url).filter(isWanted).map { url.appendingPathComponent($0) }
  }
}
