import Foundation

// `.metadata` as PyTorch pickles it: torch.distributed.checkpoint.metadata.Metadata.

extension PickleGlobal {
  fileprivate static func metadata(_ name: String) -> PickleGlobal {
    PickleGlobal("torch.distributed.checkpoint.metadata", name)
  }
  fileprivate static let storageInfo = PickleGlobal("torch.distributed.checkpoint.filesystem", "_StorageInfo")
}

extension TorchDistMetadata {
  /// The version of the layout that PyTorch 2.11 writes.
  private static let version = "1.0.0"

  /// The file's bytes; where one process of PyTorch saved the same, they are the same.
  package func pickled() throws -> [UInt8] { try PickleWriter.bytes(of: value, .four) }

  /// Writes the file whole or not at all: last, as its presence says that the checkpoint is complete.
  public func write(to folder: URL) throws {
    let url = folder.appendingPathComponent(Self.fileName)
    try writeAtomically(Data(try TorchFile.explaining(url) { try pickled() }), to: url)
  }

  private var value: PickleValue {
    Self.object(.metadata("Metadata"), [
      ("state_dict_metadata", .dictionary(entries.map { PicklePair(.string($0.name), Self.value(of: $0)) })),
      ("planner_data", pathValue),
      ("storage_data", storageValue),
      ("storage_meta", Self.object(.metadata("StorageMeta"), [
        ("checkpoint_id", checkpointID.map(Self.path) ?? .null), ("save_id", saveID.map { .string($0) } ?? .null),
        ("load_id", .null), ("modules", []),
      ])),
      ("version", .string(Self.version)),
    ])
  }

  private static func object(_ function: PickleGlobal, _ attributes: [(String, PickleValue)]) -> PickleValue {
    let state = attributes.isEmpty ? nil : PickleValue.dictionary(attributes.map { PicklePair(.string($0.0), $0.1) })
    return .object(PickleObject(function, construction: .new, state: state))
  }

  private static func size(_ values: [Int]) -> PickleValue {
    .object(PickleObject(.torchSize, [.tuple(values.map { .int($0) })]))
  }

  /// A path's parts, as Python's pathlib takes it apart.
  private static func path(_ path: String) -> PickleValue {
    let parts = path.split(separator: "/").map { PickleValue.string(String($0)) }
    return .object(PickleObject(PickleGlobal("pathlib", "PosixPath"), (path.hasPrefix("/") ? ["/"] : []) + parts))
  }

  private static func value(of entry: Entry) -> PickleValue {
    guard case .tensor(let tensor) = entry else { return object(.metadata("BytesStorageMetadata"), []) }
    // dtype, layout, requires_grad, memory format (contiguous), pin_memory: only the first means anything.
    let properties: PickleValue = .tuple([
      .global(PickleGlobal("torch", tensor.dtypeName)),
      .object(PickleObject(PickleGlobal("torch.serialization", "_get_layout"), ["torch.strided"])),
      false,
      .object(PickleObject(.metadata("_MEM_FORMAT_ENCODING"), [0])),
      false,
    ])
    let chunks = tensor.shards.map { shard in
      let attributes = [("offsets", size(shard.box.offsets)), ("sizes", size(shard.box.sizes))]
      return object(.metadata("ChunkStorageMetadata"), attributes)
    }
    return object(.metadata("TensorStorageMetadata"), [
      ("properties", .object(PickleObject(.metadata("TensorProperties"), construction: .new, state: properties))),
      ("size", size(tensor.shape)),
      ("chunks", .list(chunks)),
    ])
  }

  private var pathValue: PickleValue {
    guard let paths else { return .null }
    return .dictionary(pathOrder.map { name in
      let path = paths[name]!.map { key -> PickleValue in
        switch key {
        case .key(let key): .string(key)
        case .index(let index): .int(index)
        }
      }
      return PicklePair(.string(name), .tuple(path))
    })
  }

  /// Each item's place, in the order of the files and of their bytes.
  private var storageValue: PickleValue {
    var items: [(location: FileLocation, index: PickleValue)] = []
    for entry in entries {
      let name = PickleValue.string(entry.name)
      switch entry {
      case .object(let object):
        items.append((object.location, Self.object(.metadata("MetadataIndex"), [("fqn", name), ("index", .null)])))
      case .tensor(let tensor):
        for (i, shard) in tensor.shards.enumerated() {
          let index: [(String, PickleValue)] = [
            ("fqn", name), ("index", .int(i)), ("offset", Self.size(shard.box.offsets)),
          ]
          items.append((shard.location, Self.object(.metadata("MetadataIndex"), index)))
        }
      }
    }
    let order = Dictionary(uniqueKeysWithValues: files.enumerated().map { ($1, $0) })
    items.sort { a, b in
      (order[a.location.file] ?? .max, a.location.offset) < (order[b.location.file] ?? .max, b.location.offset)
    }
    return .dictionary(items.map { item in
      let info: [(String, PickleValue)] = [
        ("relative_path", .string(item.location.file)), ("offset", .int(item.location.offset)),
        ("length", .int(item.location.length)),
      ]
      return PicklePair(item.index, Self.object(.storageInfo, info))
    })
  }
}
