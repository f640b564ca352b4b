import Foundation
import JSON

/// The prompts of a dataset file, in the file's order.
public struct PromptDataset: Sendable {
  public struct Options: Sendable, Equatable {
    public var inputKey = "input"
    public var labelKey: String?
    public var metadataKey = "metadata"
    public var toolKey = "tools"
    /// The column of pictures for `<image>` in prompts; nil: prompts have none.
    public var imageKey: String?
    /// Render messages (or a string, as one user message) to text.
    public var applyChatTemplate = false
    public var chatTemplateArguments = JSONObject()
    /// Prompts of more tokens are left out.
    public var maximumPromptLength: Int?
    /// Whether a prompt may stay an array of messages, as supervised fine-tuning wants it.
    public var keepsMessages = false

    public init() {}
  }

  /// As given, with its slice.
  public let path: String
  public let prompts: [Sample]
  /// How many prompts were longer than the longest allowed.
  public let tooLong: Int

  /// - Throws: `DatasetError` naming file, line and key.
  public init(path: String, options: Options, codec: PromptCodec) throws {
    let source = DatasetPath(path)
    guard !source.file.hasSuffix(".parquet") else {
      throw DatasetError("\(source.file): parquet files are not supported yet; convert it to .jsonl")
    }
    guard source.file.hasSuffix(".jsonl") else {
      throw DatasetError("\(source.file): a dataset must be a .jsonl file, one JSON object a line")
    }
    var prompts: [Sample] = []
    var tooLong = 0
    try JSONLines(path: source.file).forEachObject(source) { line, row in
      let sample: Sample
      let isTooLong: Bool
      do {
        sample = try options.sample(of: row, codec: codec)
        isTooLong = try options.isTooLong(sample, codec)
      } catch {
        throw DatasetError("\(source.file) line \(line): \(error)")
      }
      if isTooLong {
        tooLong += 1
      } else {
        prompts.append(sample)
      }
    }
    guard !prompts.isEmpty else {
      throw DatasetError(
        tooLong > 0
          ? "\(path): all \(tooLong) prompts are longer than \(options.maximumPromptLength!) tokens; "
            + "raise --rollout-max-prompt-len"
          : "\(path) holds no rows")
    }
    (self.path, self.prompts, self.tooLong) = (path, prompts, tooLong)
  }
}

extension PromptCodec {
  /// Whether a text has more than `limit` tokens. A text of no more bytes than that is not tokenised: no token is empty.
  func exceeds(_ limit: Int, _ text: String, images: [Data] = []) throws -> Bool {
    guard images.isEmpty else { return try placeImages(encode(text), images).count > limit }
    return try text.utf8.count > limit && encode(text).count > limit
  }
}

extension PromptDataset.Options {
  fileprivate func isTooLong(_ sample: Sample, _ codec: PromptCodec) throws -> Bool {
    guard let limit = maximumPromptLength, let text = sample.prompt.text else { return false }
    return try codec.exceeds(limit, text, images: sample.encodedImages())
  }

  fileprivate func sample(of row: JSONObject, codec: PromptCodec) throws -> Sample {
    let input = try required(inputKey, "--input-key", in: row)
    var sample = Sample()
    sample.metadata = try metadata(of: row)
    let tools = try tools(of: row)
    if let tools { sample.metadata["tools"] = .array(tools) }
    var pictures = try RowPictures(imageKey, row)
    switch input {
    case .string(let text) where !applyChatTemplate:
      sample.prompt = .text(text)
    case .array(let messages) where keepsMessages:
      sample.prompt = .messages(messages)
    case .array where !applyChatTemplate:
      throw DatasetError("the prompt under '\(inputKey)' is an array of messages; render it with --apply-chat-template")
    case .string, .array:
      let messages = try pictures.placed(in: input.array ?? [["role": "user", "content": input]])
      sample.images = try pictures.used()
      sample.prompt = .text(
        try codec.render(Conversation(messages: messages, tools: tools, arguments: chatTemplateArguments), true))
    default:
      throw DatasetError("the prompt under '\(inputKey)' must be a string or an array of messages, not \(input.kind)")
    }
    guard applyChatTemplate || pictures.isEmpty else {
      throw DatasetError("the prompt has pictures, whose places the chat template makes; give --apply-chat-template")
    }
    if let labelKey { sample.label = try required(labelKey, "--label-key", in: row) }
    return sample
  }

  private func required(_ key: String, _ flag: String, in row: JSONObject) throws -> JSONValue {
    guard let value = row[key] else {
      throw DatasetError(
        "key '\(key)' is missing; the row has \(row.keys.map { "'\($0)'" }.joined(separator: ", ")); set \(flag)")
    }
    return value
  }

  private func metadata(of row: JSONObject) throws -> JSONObject {
    switch row[metadataKey] {
    case nil, .null: return [:]
    case .object(let object): return object
    case .some(let other): throw DatasetError("'\(metadataKey)' must be an object, not \(other.kind)")
    }
  }

  private func tools(of row: JSONObject) throws -> [JSONValue]? {
    switch row[toolKey] {
    case nil, .null: return nil
    case .array(let tools): return tools
    case .string(let text):
      if let tools = try? JSONValue(parsing: text).array { return tools }
      throw DatasetError("'\(toolKey)' is a string that is not a JSON array of tools")
    case .some(let other): throw DatasetError("'\(toolKey)' must be an array of tools, not \(other.kind)")
    }
  }
}
