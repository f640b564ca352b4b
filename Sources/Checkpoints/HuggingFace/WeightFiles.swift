import Foundation
import JSON

/// All weights of a model folder: `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
///
/// As in `transformers`, the single file wins where a folder has both. The index decides what is in a sharded
/// checkpoint: each tensor it lists must be in its shard.
public struct WeightFiles: Sendable {
  public static let singleFile = "model.safetensors"
  public static let indexFile = "model.safetensors.index.json"

  public let folder: URL
  public let files: [SafetensorsFile]
  /// In the order of the files and of their bytes.
  public let names: [String]
  private let locations: [String: Int]

  /// Opens all files and checks their headers. Throws `CheckpointError`.
  public init(in folder: URL) throws {
    self.folder = folder
    let single = folder.appendingPathComponent(Self.singleFile)
    let index = folder.appendingPathComponent(Self.indexFile)
    if FileManager.default.fileExists(atPath: single.path) {
      let file = try SafetensorsFile(single)
      files = [file]
      names = file.tensors.map(\.name)
      locations = Dictionary(uniqueKeysWithValues: names.map { ($0, 0) })
    } else if FileManager.default.fileExists(atPath: index.path) {
      (files, names, locations) = try Self.open(index)
    } else {
      throw CheckpointError(folder, Self.absence(in: folder))
    }
  }

  private static func open(_ index: URL) throws -> ([SafetensorsFile], [String], [String: Int]) {
    guard let map = try readObject(index)["weight_map"]?.object else {
      throw CheckpointError(index, "there is no object 'weight_map' in this index")
    }
    var shards: [String: [String]] = [:]
    for (tensor, value) in map.pairs {
      guard let shard = value.string, !shard.isEmpty, !shard.contains("/") else {
        throw CheckpointError(index, "the entry of tensor '\(tensor)' is not the name of a file in this folder")
      }
      shards[shard, default: []].append(tensor)
    }
    let folder = index.deletingLastPathComponent()
    let missing = shards.keys.sorted().filter { !FileManager.default.fileExists(atPath: folder.appendingPathComponent($0).path) }
    guard missing.isEmpty else {
      throw CheckpointError(
        index, "\(missing.count) of \(shards.count) shards are missing: \(sentence(missing)), the first of which holds "
          + "'\(shards[missing[0]]![0])'; download the model again or copy what is missing here")
    }
    var (files, names, locations) = ([SafetensorsFile](), [String](), [String: Int]())
    for (shard, listed) in shards.sorted(by: { $0.key < $1.key }) {
      let url = folder.appendingPathComponent(shard)
      let file = try SafetensorsFile(url)
      for tensor in listed {
        guard file[tensor] != nil else {
          throw CheckpointError(url, "tensor '\(tensor)' is not in this shard, though \(indexFile) says so")
        }
        locations[tensor] = files.count
      }
      names += file.tensors.map(\.name).filter { locations[$0] == files.count }
      files.append(file)
    }
    return (files, names, locations)
  }

  private static func absence(in folder: URL) -> String {
    let found = listing(of: folder)
    let other = found.contains { $0.hasSuffix(".bin") || $0.hasSuffix(".pth") || $0.hasSuffix(".pt") }
    let remedy = other
      ? "; convert the PyTorch files with transformers' save_pretrained"
      : "; check that the download or the save was complete"
    return "there are no weights in this folder, which holds \(sentence(found)); needed is \(singleFile), "
      + "or \(indexFile) with its shards\(remedy)"
  }

  public func contains(_ name: String) -> Bool { locations[name] != nil }

  /// The file that holds a tensor. Throws where no file does.
  public func file(holding name: String) throws -> SafetensorsFile {
    guard let location = locations[name] else {
      let place = files.count == 1 ? files[0].url.lastPathComponent : "\(files.count) shards"
      throw CheckpointError(folder, "there is no tensor '\(name)' among the \(names.count) tensors of \(place)")
    }
    return files[location]
  }

  public func description(of name: String) throws -> TensorDescription {
    try file(holding: name).description(of: name)
  }

  /// The tensor's bytes in its mapped file, valid as long as `files` live.
  public func bytes(of name: String) throws -> UnsafeRawBufferPointer { try file(holding: name).bytes(of: name) }

  /// Throws, with what is there and what was expected, unless the tensor has this shape and (where given) this dtype.
  public func check(_ name: String, shape: [Int], dtype: SafetensorsDType? = nil) throws {
    try file(holding: name).check(name, shape: shape, dtype: dtype)
  }
}
