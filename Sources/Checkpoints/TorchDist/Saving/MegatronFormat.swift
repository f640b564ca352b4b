import Foundation
import JSON

/// What Megatron-Core has in a checkpoint's folder beside PyTorch's files.
public enum MegatronFormat {
  /// Plain values and small tensors, the same for all ranks: iteration, arguments, scheduler.
  public static let commonName = "common.pt"
  /// Which format the folder is in.
  public static let formatName = "metadata.json"

  private static let description: [(String, JSONValue)] = [
    ("sharded_backend", "torch_dist"), ("sharded_backend_version", 1), ("common_backend", "torch"),
    ("common_backend_version", 1),
  ]

  /// Writes metadata.json, the mark of a torch_dist folder.
  public static func writeDescription(to folder: URL) throws {
    let json = JSONValue.object(JSONObject(description.map { ($0.0, $0.1) })).bytes()
    try writeAtomically(Data(json), to: folder.appendingPathComponent(formatName))
  }

  /// Throws, with what the folder is instead, unless its metadata.json says what `writeDescription` writes.
  public static func checkDescription(of folder: URL) throws {
    let url = folder.appendingPathComponent(formatName)
    let object = try readObject(url)
    for (key, expected) in description where object[key] != expected {
      // What is left out has Megatron-Core's own default, which is the same; only the backend has none.
      if object[key] == nil, key != "sharded_backend" { continue }
      func text(_ value: JSONValue) -> String { String(decoding: value.bytes(), as: UTF8.self) }
      throw CheckpointError(
        url, "\(key) is \(object[key].map(text) ?? "missing"), expected \(text(expected)); convert the checkpoint with "
          + "Megatron-LM")
    }
  }

  public static func writeCommon(_ value: PickleValue, to folder: URL) throws {
    try TorchFile.write(value, to: folder.appendingPathComponent(commonName))
  }

  public static func readCommon(
    in folder: URL, allowing allowed: PickleAllowList = .torchSave
  ) throws -> PickleValue {
    try TorchFile.read(folder.appendingPathComponent(commonName), allowing: allowed)
  }

  /// The name under which Megatron-Core saves one of several objects of a key, such as the random states of the ranks:
  /// `rng_state/shard_0.1_2.4` is the object at [0, 1] of a grid of [2, 4].
  public static func objectName(_ key: String, offset: [Int], gridShape: [Int]) -> String {
    func joined(_ numbers: [Int]) -> String { numbers.map(String.init).joined(separator: ".") }
    return "\(key)/shard_\(joined(offset))_\(joined(gridShape))"
  }
}
