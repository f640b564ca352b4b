import Foundation
import Torch

extension TorchDistMetadata {
  /// What all ranks wrote, together.
  ///
  /// Of an item that several ranks wrote, the lowest rank's is kept, after a check that they wrote the same bytes. Each
  /// tensor's shards must cover it, without overlap. Throws `CheckpointError`.
  /// - Parameters:
  ///   - ranks: each rank once, in any order.
  ///   - checkpointID: the checkpoint's folder; for people, not for readers.
  ///   - saveID: a number of this save; for people, not for readers.
  public init(merging ranks: [RankContents], checkpointID: String? = nil, saveID: String? = nil) throws {
    let ranks = ranks.sorted { $0.rank < $1.rank }
    for (a, b) in zip(ranks, ranks.dropFirst()) where a.rank == b.rank {
      throw CheckpointError("rank \(a.rank) reported twice what it wrote")
    }
    var merger = Merger()
    for contents in ranks {
      for item in contents.items { try merger.add(item, of: contents.rank) }
    }
    // PyTorch's order: the last rank's paths first.
    var (paths, known) = ([(name: String, path: [StateDictKey])](), Set<String>())
    for item in ranks.reversed().flatMap(\.items) {
      if let path = item.path, known.insert(item.name).inserted { paths.append((item.name, path)) }
    }
    self.init(
      entries: try merger.entries(), paths: paths.isEmpty ? nil : paths, files: merger.files(ranks),
      checkpointID: checkpointID, saveID: saveID)
  }
}

private struct Merger {
  private struct Piece {
    var item: WrittenItem
    var rank: Int
  }

  private var names: [String] = []
  /// The pieces of each name, in order of rank.
  private var pieces: [String: [Piece]] = [:]
  private var known: [PlannedItem.Key: Piece] = [:]

  mutating func add(_ item: WrittenItem, of rank: Int) throws {
    let piece = Piece(item: item, rank: rank)
    if let first = pieces[item.name]?.first { try checkKind(first, piece) }
    if case .shard(_, let shape, let box) = item.content, !box.fits(shape) {
      throw CheckpointError("tensor '\(item.name)' of shape \(shape) has a shard \(box) of rank \(rank), outside it")
    }
    if pieces[item.name] == nil {
      names.append(item.name)
      pieces[item.name] = []
    }
    // A shard without elements, as an uneven division leaves on its last ranks, adds nothing to a tensor that has some.
    if case .shard(_, let shape, let box) = item.content, box.isEmpty, !shape.contains(0) { return }
    let key = PlannedItem.Key(name: item.name, offsets: item.box?.offsets)
    if let twin = known[key] { return try checkReplica(twin, piece) }
    known[key] = piece
    pieces[item.name]!.append(piece)
  }

  private func checkKind(_ a: Piece, _ b: Piece) throws {
    switch (a.item.content, b.item.content) {
    case (.object, .object): return
    case (.shard(let dtypeA, let shapeA, _), .shard(let dtypeB, let shapeB, _)):
      guard dtypeA != dtypeB || shapeA != shapeB else { return }
      throw CheckpointError(
        "tensor '\(a.item.name)' is \(shapeA) \(dtypeA.name) for rank \(a.rank) but \(shapeB) \(dtypeB.name) for rank "
          + "\(b.rank)")
    default:
      throw CheckpointError(
        "'\(a.item.name)' is a tensor for one of ranks \(a.rank) and \(b.rank), and an object for the other")
    }
  }

  private func checkReplica(_ a: Piece, _ b: Piece) throws {
    let name = a.item.name
    guard a.item.box == b.item.box else {
      throw CheckpointError(
        "tensor '\(name)' has two shards that begin at the same place: \(a.item.box!) of rank \(a.rank) and "
          + "\(b.item.box!) of rank \(b.rank)")
    }
    guard a.item.checksum == b.item.checksum else {
      let what = a.item.box.map { "shard \($0) of tensor '\(name)'" } ?? "object '\(name)'"
      throw CheckpointError(
        "ranks \(a.rank) and \(b.rank) both wrote \(what), but not the same bytes; replicas must be equal, and what "
          + "differs needs names of its own")
    }
  }

  func entries() throws -> [TorchDistMetadata.Entry] {
    try names.map { name in
      let pieces = pieces[name]!
      guard let first = pieces.first else {
        throw CheckpointError("tensor '\(name)' has elements, but all shards of it that were written have none")
      }
      guard case .shard(let dtype, let shape, _) = first.item.content else {
        return .object(.init(name: name, location: first.item.location))
      }
      let boxes = pieces.map { $0.item.box! }
      if let (a, b) = boxes.overlap() {
        throw CheckpointError(
          "tensor '\(name)' of shape \(shape) has shards that overlap: \(boxes[a]) of rank \(pieces[a].rank) and "
            + "\(boxes[b]) of rank \(pieces[b].rank)")
      }
      if let hole = boxes.hole(in: TensorBox(whole: shape)) {
        throw CheckpointError("tensor '\(name)' of shape \(shape) has no shard that holds \(hole); no rank wrote it")
      }
      let shards = pieces.map { TorchDistMetadata.Shard(box: $0.item.box!, location: $0.item.location) }
      return .tensor(.init(name: name, dtypeName: dtype.name, shape: shape, shards: shards))
    }
  }

  /// Files that hold something, in the order of ranks and of their numbers.
  func files(_ ranks: [RankContents]) -> [String] {
    let used = Set(pieces.values.joined().map(\.item.location.file))
    return ranks.flatMap { contents in
      var files: [String] = []
      for file in contents.items.map(\.location.file) where used.contains(file) && !files.contains(file) {
        files.append(file)
      }
      return files.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
    }
  }
}

extension WrittenItem {
  fileprivate var box: TensorBox? { if case .shard(_, _, let box) = content { box } else { nil } }
}
