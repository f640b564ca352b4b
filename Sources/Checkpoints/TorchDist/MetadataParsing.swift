import Foundation

// From a `.metadata` of any PyTorch since 2.0, or of Megatron-Core.

extension TorchDistMetadata {
  /// Reads the file `.metadata` of a folder. Throws `CheckpointError`.
  public init(in folder: URL) throws {
    let url = folder.appendingPathComponent(Self.fileName)
    guard FileManager.default.fileExists(atPath: url.path) else {
      throw CheckpointError(
        folder, "there is no file .metadata in this folder, which holds \(sentence(listing(of: folder))); "
          + "either it is no torch_dist checkpoint or its save did not end")
    }
    let file = try MappedFile(url)
    self = try withExtendedLifetime(file) {
      try TorchFile.explaining(url) { try TorchDistMetadata(parsing: file.bytes) }
    }
  }

  /// Throws `PickleError`.
  init(parsing bytes: UnsafeRawBufferPointer) throws {
    let root = try PickleReader.value(of: bytes, allowing: .checkpointMetadata)
    guard let metadata = root.object, ["Metadata", "MCoreMetadata"].contains(metadata.function.name),
      let items = metadata["state_dict_metadata"]?.pairs
    else { throw PickleError("it holds \(root.kind), not a checkpoint's Metadata") }
    guard let storage = metadata["storage_data"]?.pairs else {
      let found = metadata["storage_data"]?.kind ?? "missing"
      throw PickleError("its storage_data is \(found), so nothing says where the items lie")
    }
    let (locations, files) = try Self.locations(storage)
    let entries = try items.map { pair in
      guard let name = pair.key.string else { throw PickleError("an item's name is \(pair.key.kind), not a str") }
      return try Self.entry(name, pair.value, locations)
    }
    let meta = metadata["storage_meta"]?.object
    self.init(
      entries: entries, paths: try metadata["planner_data"]?.pairs.flatMap(Self.paths), files: files,
      checkpointID: meta?["checkpoint_id"].flatMap(Self.path), saveID: meta?["save_id"]?.string)
  }

  /// An item of a name; of a tensor, the shard at an offset.
  private struct Key: Hashable {
    var name: String
    var offsets: [Int]?
  }

  private static func locations(_ storage: [PicklePair]) throws -> ([Key: FileLocation], [String]) {
    var (locations, files, known) = ([Key: FileLocation](), [String](), Set<String>())
    for pair in storage {
      guard let index = pair.key.object, let name = index["fqn"]?.string else {
        throw PickleError("a key of its storage_data is \(pair.key.kind), not a MetadataIndex")
      }
      guard let info = pair.value.object, let path = info["relative_path"]?.string, let offset = info["offset"]?.int,
        let length = info["length"]?.int, offset >= 0, length >= 0
      else { throw PickleError("the place of '\(name)' is \(pair.value.kind), not a sound _StorageInfo") }
      if let transforms = info["transform_descriptors"]?.array, !transforms.isEmpty {
        let names = transforms.compactMap(\.string).joined(separator: ", ")
        throw PickleError("'\(name)' was saved through the extension \(names), which cannot be undone here")
      }
      guard !path.isEmpty, !path.hasPrefix("/"), !path.split(separator: "/").contains("..") else {
        throw PickleError("'\(name)' is said to lie in '\(path)', which is outside the checkpoint's folder")
      }
      locations[Key(name: name, offsets: index["offset"]?.integers)] = FileLocation(
        file: path, offset: offset, length: length)
      if known.insert(path).inserted { files.append(path) }
    }
    return (locations, files)
  }

  private static func entry(_ name: String, _ value: PickleValue, _ locations: [Key: FileLocation]) throws -> Entry {
    guard let object = value.object else { throw PickleError("the entry of '\(name)' is \(value.kind)") }
    if object.function.name == "BytesStorageMetadata" {
      guard let location = locations[Key(name: name)] else {
        throw PickleError("object '\(name)' is listed, but no file is named that holds it")
      }
      return .object(ObjectEntry(name: name, location: location))
    }
    guard object.function.name == "TensorStorageMetadata", let shape = object["size"]?.integers,
      let chunks = object["chunks"]?.array, let dtype = dtypeName(object["properties"]),
      byteCount(shape: shape, elementSize: 16) != nil
    else { throw PickleError("the entry of '\(name)', \(value.kind), is no sound description of a tensor") }
    let shards = try chunks.map { chunk in
      guard let object = chunk.object, let offsets = object["offsets"]?.integers, let sizes = object["sizes"]?.integers,
        offsets.count == sizes.count
      else { throw PickleError("tensor '\(name)' has a shard that is no sound ChunkStorageMetadata") }
      guard offsets.count == shape.count, zip(offsets, sizes).allSatisfy({ $0 >= 0 && $1 >= 0 && $0 <= Int.max - $1 }),
        case let box = TensorBox(offsets: offsets, sizes: sizes), box.fits(shape)
      else { throw PickleError("tensor '\(name)' is \(shape), but has a shard of sizes \(sizes) at \(offsets)") }
      guard let location = locations[Key(name: name, offsets: offsets)] else {
        throw PickleError("tensor '\(name)' has a shard \(box), but no file is named that holds it")
      }
      return Shard(box: box, location: location)
    }
    return .tensor(TensorEntry(name: name, dtypeName: dtype, shape: shape, shards: shards))
  }

  private static func dtypeName(_ properties: PickleValue?) -> String? {
    guard let properties = properties?.object else { return nil }
    // A tuple with the type in front; attributes in the oldest files.
    return (properties.state?.array?.first ?? properties["dtype"])?.global?.name
  }

  private static func paths(_ pairs: [PicklePair]) throws -> [(name: String, path: [StateDictKey])]? {
    var paths: [(String, [StateDictKey])] = []
    for pair in pairs {
      // Planners may put anything here; what is no path is theirs alone.
      guard let name = pair.key.string, let parts = pair.value.array else { return nil }
      let path = parts.compactMap { $0.string.map { StateDictKey.key($0) } ?? $0.int.map { .index($0) } }
      guard path.count == parts.count else { return nil }
      paths.append((name, path))
    }
    return paths
  }

  /// The text of a path, given as such or in parts.
  private static func path(_ value: PickleValue) -> String? {
    if let text = value.string { return text }
    guard let parts = value.object?.arguments.compactMap(\.string), !parts.isEmpty else { return nil }
    return parts[0] == "/" ? "/" + parts.dropFirst().joined(separator: "/") : parts.joined(separator: "/")
  }
}
