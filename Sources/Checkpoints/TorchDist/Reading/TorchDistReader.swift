import Foundation
import Synchronization
import Torch

/// A distributed checkpoint of PyTorch or Megatron-Core, or of our own: reads any part of any tensor, however many
/// ranks wrote it.
///
/// Files are mapped when they are first needed, and only the parts that are asked for are read. Any number of threads
/// may read at the same time.
public final class TorchDistReader: Sendable {
  public let folder: URL
  public let metadata: TorchDistMetadata
  private let tensors: [String: TorchDistMetadata.TensorEntry]
  private let objects: [String: TorchDistMetadata.ObjectEntry]
  private let files = Mutex<[String: MappedFile]>([:])

  /// Reads the folder's `.metadata`. Throws `CheckpointError`.
  public init(_ folder: URL) throws {
    self.folder = folder
    metadata = try TorchDistMetadata(in: folder)
    tensors = Dictionary(uniqueKeysWithValues: metadata.tensors.map { ($0.name, $0) })
    objects = Dictionary(uniqueKeysWithValues: metadata.objects.map { ($0.name, $0) })
  }

  public func contains(_ name: String) -> Bool { tensors[name] != nil || objects[name] != nil }

  /// What a tensor is, and how it is cut. Throws where there is none of this name.
  public func description(of name: String) throws -> TorchDistMetadata.TensorEntry {
    guard let entry = tensors[name] else {
      throw CheckpointError(
        folder, objects[name] == nil
          ? "there is no tensor '\(name)' among the \(tensors.count) of this checkpoint"
          : "'\(name)' is an object in this checkpoint, not a tensor")
    }
    return entry
  }

  /// Throws, with what is there and what was expected, unless the tensor has this shape and (where given) this type.
  public func check(_ name: String, shape: [Int], dtype: DType? = nil) throws {
    let entry = try description(of: name)
    guard entry.shape == shape, dtype == nil || entry.dtype == dtype else {
      throw CheckpointError(
        folder, "tensor '\(name)' is \(entry.shape) \(entry.dtypeName), expected \(shape) "
          + (dtype?.name ?? entry.dtypeName))
    }
  }

  // MARK: Tensors

  /// A copy of a box of a tensor, or of all of it, on the CPU, in the type that it was saved in. Throws `CheckpointError`,
  /// and `TorchError` where there is not enough memory.
  public func tensor(_ name: String, _ box: TensorBox? = nil) throws -> Tensor {
    let entry = try description(of: name)
    let box = box ?? TensorBox(whole: entry.shape)
    let dtype = try dtype(of: entry)
    let parts = try parts(of: box, entry)
    return try catchingTorchErrors {
      let tensor = Tensor.empty(box.sizes, dtype: dtype)
      try read(parts, of: entry, box, into: tensor)
      return tensor
    }
  }

  /// Fills a contiguous tensor on the CPU, of the same type, with a box of its own shape.
  /// - Parameter offsets: where the box begins.
  public func read(_ name: String, at offsets: [Int], into tensor: Tensor) throws {
    let entry = try description(of: name)
    guard offsets.count == entry.shape.count, tensor.dimensionCount == offsets.count else {
      throw CheckpointError(
        folder, "tensor '\(name)' is \(entry.shape); no box at \(offsets) of shape \(tensor.shape) can be read from it")
    }
    let box = TensorBox(offsets: offsets, sizes: tensor.shape)
    let parts = try parts(of: box, entry)
    guard tensor.dtype == (try dtype(of: entry)), tensor.device.kind == .cpu, tensor.isContiguous else {
      throw CheckpointError(
        folder, "tensor '\(name)' is \(entry.dtypeName) and can be read into a contiguous tensor of this type on the CPU, "
          + "not into one of \(tensor.dtype.name) on \(tensor.device) with strides \(tensor.strides)")
    }
    try read(parts, of: entry, box, into: tensor)
  }

  private func dtype(of entry: TorchDistMetadata.TensorEntry) throws -> DType {
    guard let dtype = entry.dtype else {
      throw CheckpointError(folder, "tensor '\(entry.name)' is \(entry.dtypeName), which has no tensors here")
    }
    return dtype
  }

  /// A shard, and what of it is asked for.
  private typealias Part = (shard: TorchDistMetadata.Shard, box: TensorBox)

  /// The shards' parts that make up a box. Throws where they do not.
  private func parts(of box: TensorBox, _ entry: TorchDistMetadata.TensorEntry) throws -> [Part] {
    guard box.fits(entry.shape) else {
      throw CheckpointError(folder, "tensor '\(entry.name)' is \(entry.shape) and does not have the box \(box)")
    }
    let parts = entry.shards.compactMap { shard in shard.box.intersection(box).map { (shard: shard, box: $0) } }
    try checkCover(of: box, by: parts.map(\.box), entry)
    return parts
  }

  private func checkCover(
    of box: TensorBox, by parts: [TensorBox], _ entry: TorchDistMetadata.TensorEntry
  ) throws {
    if let (a, b) = parts.overlap() {
      throw CheckpointError(
        folder, "tensor '\(entry.name)' has shards that overlap: \(parts[a]) and \(parts[b]); the checkpoint is ambiguous")
    }
    if let hole = parts.hole(in: box) {
      throw CheckpointError(
        folder, "tensor '\(entry.name)' has no shard that holds \(hole); the checkpoint is incomplete")
    }
  }

  private func read(
    _ parts: [Part], of entry: TorchDistMetadata.TensorEntry, _ box: TensorBox, into tensor: Tensor
  ) throws {
    try tensor.withMutableBytes { memory in
      guard let destination = memory.baseAddress else { return }
      for part in parts {
        try copy(part.box, of: part.shard, entry, to: destination, origin: box)
      }
    }
  }

  /// Copies a part of a shard to its place in the memory of `origin`, which is row-major.
  private func copy(
    _ part: TensorBox, of shard: TorchDistMetadata.Shard, _ entry: TorchDistMetadata.TensorEntry,
    to destination: UnsafeMutableRawPointer, origin: TensorBox
  ) throws {
    try withArchive(shard.location, item: "shard \(shard.box) of tensor '\(entry.name)'") { archive in
      guard let view = try archive.view() else { throw PickleError("it is \(archive.value.kind), not a tensor") }
      guard view.shape == shard.box.sizes, view.dtypeName == entry.dtypeName else {
        throw PickleError(
          "it is \(view.shape) \(view.dtypeName), but .metadata says \(shard.box.sizes) \(entry.dtypeName)")
      }
      let (dtype, storage) = try archive.storage(of: view)
      func distance(_ strides: [Int], from start: [Int]) -> Int {
        part.offsets.indices.reduce(0) { $0 + (part.offsets[$1] - start[$1]) * strides[$1] }
      }
      let strides = rowMajorStrides(origin.sizes)
      let source = view.storageOffset + distance(view.strides, from: shard.box.offsets)
      let target = distance(strides, from: origin.offsets)
      StridedCopy(
        sizes: part.sizes, sourceStrides: view.strides, destinationStrides: strides, elementSize: dtype.size
      ).run(from: storage.baseAddress! + source * dtype.size, to: destination + target * dtype.size)
    }
  }

  // MARK: Objects

  /// The bytes of an object, as they were saved.
  public func bytes(_ name: String) throws -> [UInt8] {
    let location = try location(of: name)
    return try withBytes(location, item: "object '\(name)'") { Array($0) }
  }

  /// An object of plain values and small tensors.
  public func value(_ name: String, allowing allowed: PickleAllowList = .torchSave) throws -> PickleValue {
    let location = try location(of: name)
    return try withBytes(location, item: "object '\(name)'") { try TorchFile.parse($0, allowing: allowed) }
  }

  private func location(of name: String) throws -> FileLocation {
    guard let entry = objects[name] else {
      throw CheckpointError(
        folder, tensors[name] == nil
          ? "there is no object '\(name)' among the \(objects.count) of this checkpoint"
          : "'\(name)' is a tensor in this checkpoint, not an object")
    }
    return entry.location
  }

  // MARK: Checks

  /// Reads everything once. Throws where a tensor is not covered, a file is damaged, or a checksum is not right.
  public func verify() throws {
    for entry in metadata.tensors {
      try checkCover(of: TensorBox(whole: entry.shape), by: entry.shards.map(\.box), entry)
      for shard in entry.shards {
        try withArchive(shard.location, item: "shard \(shard.box) of tensor '\(entry.name)'", checkIntact)
      }
    }
    for object in metadata.objects {
      try withBytes(object.location, item: "object '\(object.name)'") { bytes in
        // Only archives have checksums; an object may be any bytes.
        guard let zip = try? ZipReader(bytes) else { return }
        try checkIntact(zip.damagedEntries())
      }
    }
  }

  private func checkIntact(_ archive: TorchArchiveReader) throws { try checkIntact(archive.damagedEntries()) }

  private func checkIntact(_ damaged: [String]) throws {
    if !damaged.isEmpty { throw PickleError("it is damaged: its checksum of \(sentence(damaged)) is wrong") }
  }

  // MARK: Files

  private func file(_ name: String) throws -> MappedFile {
    try files.withLock { files in
      if let file = files[name] { return file }
      let url = folder.appendingPathComponent(name)
      guard FileManager.default.fileExists(atPath: url.path) else {
        throw CheckpointError(url, "this file of the checkpoint is missing; .metadata names it")
      }
      let file = try MappedFile(url)
      files[name] = file
      return file
    }
  }

  private func withBytes<Result>(
    _ location: FileLocation, item: String, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result {
    let url = folder.appendingPathComponent(location.file)
    let file = try file(location.file)
    guard location.offset <= file.count, location.length <= file.count - location.offset else {
      throw CheckpointError(
        url, "\(item) should be \(location.length) bytes from byte \(location.offset) on, but the file ends after "
          + "\(file.count); it is truncated")
    }
    return try withExtendedLifetime(file) {
      try TorchFile.explaining(url, item: item) {
        try body(UnsafeRawBufferPointer(rebasing: file.bytes[location.offset..<location.offset + location.length]))
      }
    }
  }

  private func withArchive<Result>(
    _ location: FileLocation, item: String, _ body: (TorchArchiveReader) throws -> Result
  ) throws -> Result {
    try withBytes(location, item: item) { try body(TorchArchiveReader($0, allowing: .torchSave)) }
  }
}
