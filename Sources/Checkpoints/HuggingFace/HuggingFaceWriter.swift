import Foundation
import JSON

/// Saves a model folder that `transformers` opens with `from_pretrained`: weights tensor by tensor, in any order.
///
/// Names, sharding and index are those of `save_pretrained`. The folder appears under its name in `finish()`, whole.
public final class HuggingFaceWriter {
  /// What `save_pretrained` puts into one file at most: 5 GB.
  public static let defaultShardBytes = 5_000_000_000

  /// Announced tensors in the order of files and bytes: the best order to write in.
  public let tensors: [TensorSpecification]
  private let folder: PartialFolder
  private let writers: [SafetensorsWriter]
  private let shardOfTensor: [String: Int]
  private var isFinished = false

  /// - Parameters:
  ///   - destination: the folder to be; a model folder that is there is replaced when the save is complete.
  ///   - config: what goes into config.json; its `dtype` (or `torch_dtype`) should be that of the tensors.
  ///   - tensors: in the model's order, which decides what goes into which shard.
  ///   - source: where tokenizer and generation_config.json are copied from.
  public init(
    to destination: URL, config: JSONValue, tensors: [TensorSpecification], copyingFrom source: HuggingFaceFolder? = nil,
    maximumShardBytes: Int = defaultShardBytes
  ) throws {
    let present = listing(of: destination)
    guard present.isEmpty || present.contains("config.json") else {
      throw CheckpointError(
        destination, "this folder holds \(sentence(present)) and no model; give a new or an empty folder to save into")
    }
    let shards = try ShardPlan(tensors, maximumShardBytes: maximumShardBytes, of: destination)
    folder = try PartialFolder(for: destination)
    do {
      for file in source?.companionFiles ?? [] {
        try FileManager.default.copyItem(at: file, to: folder.url.appendingPathComponent(file.lastPathComponent))
      }
      try (config.data(.indented(2)) + Data("\n".utf8)).write(to: folder.url.appendingPathComponent("config.json"))
      if let index = shards.index {
        let text = index.data(.indented(2)) + Data("\n".utf8)
        try text.write(to: folder.url.appendingPathComponent(WeightFiles.indexFile))
      }
      writers = try shards.files.map { [folder] in
        try SafetensorsWriter(to: folder.url.appendingPathComponent($0.name), tensors: $0.tensors)
      }
    } catch {
      folder.discard()
      throw error
    }
    self.tensors = writers.flatMap(\.tensors).map(\.specification)
    shardOfTensor = Dictionary(
      uniqueKeysWithValues: writers.enumerated().flatMap { index, writer in writer.tensors.map { ($0.name, index) } })
  }

  deinit {
    if !isFinished { folder.discard() }
  }

  /// Writes a tensor's bytes, row-major and little-endian.
  public func write(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
    let writer = try writer(of: name)
    try writer.write(name, bytes)
    if writer.isComplete { try writer.finish() }
  }

  private func writer(of name: String) throws -> SafetensorsWriter {
    guard let shard = shardOfTensor[name] else {
      throw CheckpointError(folder.destination, "tensor '\(name)' was not announced")
    }
    return writers[shard]
  }

  func specification(of name: String) throws -> TensorSpecification {
    try writer(of: name).description(of: name).specification
  }

  /// Brings everything to the disk and gives the folder its name. Throws while a tensor is missing.
  public func finish() throws {
    for writer in writers where !writer.isFinished { try writer.finish() }
    try folder.commit()
    isFinished = true
  }
}

extension HuggingFaceFolder {
  /// Saves a model folder in one go; each tensor's bytes are asked for when their turn comes, and then let go.
  public static func save(
    to destination: URL, config: JSONValue, tensors: [TensorSource], copyingFrom source: HuggingFaceFolder? = nil,
    maximumShardBytes: Int = HuggingFaceWriter.defaultShardBytes
  ) throws {
    let writer = try HuggingFaceWriter(
      to: destination, config: config, tensors: tensors.map(\.specification), copyingFrom: source,
      maximumShardBytes: maximumShardBytes)
    let sources = Dictionary(uniqueKeysWithValues: tensors.map { ($0.specification.name, $0) })
    for tensor in writer.tensors {
      try sources[tensor.name]!.withBytes { try writer.write(tensor.name, $0) }
    }
    try writer.finish()
  }
}
