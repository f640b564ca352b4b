import Checkpoints
import Inference
import Torch

/// Which trainer rank's which elements go to which engine rank.
///
/// It follows from what the ranks of both sides hold, by their declarations; the layouts may differ in any way. Nothing is
/// put together on one rank, each element is sent once, by one rank that holds it, and only if an engine holds it too.
public struct CopyPlan: Sendable, Equatable {
  /// Elements that one rank of the trainer sends.
  public struct Transfer: Sendable, Equatable {
    /// The trainer's rank.
    public var source: Int
    /// In the type that the engines want.
    public var shard: WeightShard
    public var destinations: [Destination]
  }

  /// Where some of them go.
  public struct Destination: Sendable, Equatable {
    public var engine: Int
    public var rank: Int
    public var box: TensorBox
  }

  public let transfers: [Transfer]
  private let sourceCount: Int

  /// - Parameters:
  ///   - sources: by rank, what the trainer holds.
  ///   - engines: by engine and rank, what they hold.
  /// - Throws: `WeightSyncError` that names a tensor about which the two sides disagree.
  public init(from sources: [[WeightShard]], to engines: [[[WeightShard]]]) throws(WeightSyncError) {
    struct Holder {
      let box: TensorBox
      var ranks: [Int]
    }
    sourceCount = sources.count
    var shapes: [String: [Int]] = [:]
    var holders: [String: [Holder]] = [:]
    for (rank, shards) in sources.enumerated() {
      for shard in shards where !shard.box.isEmpty {
        if let shape = shapes[shard.name], shape != shard.shape {
          throw WeightSyncError("The trainer's ranks hold '\(shard.name)' with shapes \(shape) and \(shard.shape).")
        }
        shapes[shard.name] = shard.shape
        if let index = holders[shard.name]?.firstIndex(where: { $0.box == shard.box }) {
          // A rank may hold it twice: a tied embedding.
          if holders[shard.name]![index].ranks.last != rank { holders[shard.name]![index].ranks.append(rank) }
        } else {
          holders[shard.name, default: []].append(Holder(box: shard.box, ranks: [rank]))
        }
      }
    }
    var names: [String] = []
    var wanted: [String: (shard: WeightShard, places: [Destination])] = [:]
    for (engine, ranks) in engines.enumerated() {
      for (rank, shards) in ranks.enumerated() {
        for shard in shards where !shard.box.isEmpty {
          if let first = wanted[shard.name]?.shard {
            guard first.shape == shard.shape, first.dtype == shard.dtype else {
              throw WeightSyncError(
                "The engines hold '\(shard.name)' as \(first.dtype.name) \(first.shape) and \(shard.dtype.name) \(shard.shape); give them one model and type.")
            }
          } else {
            names.append(shard.name)
          }
          wanted[shard.name, default: (shard, [])].places.append(Destination(engine: engine, rank: rank, box: shard.box))
        }
      }
    }
    var transfers: [Transfer] = []
    var bytes = Array(repeating: 0, count: sources.count)
    for name in names {
      let (shard, places) = wanted[name]!
      guard let held = holders[name] else {
        if shard.isOptional { continue }
        throw WeightSyncError("The engines need '\(name)', which no rank of the trainer holds; both must have one model.")
      }
      guard shapes[name] == shard.shape else {
        throw WeightSyncError("'\(name)' has shape \(shapes[name]!) in the trainer and \(shard.shape) in the engines.")
      }
      let boxes = held.map(\.box)
      if let (a, b) = boxes.overlap() {
        throw WeightSyncError("The trainer's ranks hold \(boxes[a]) and \(boxes[b]) of '\(name)', which overlap.")
      }
      if let hole = boxes.hole(in: TensorBox(whole: shard.shape)) {
        throw WeightSyncError("No rank of the trainer holds \(hole) of '\(name)'.")
      }
      for holder in held {
        let destinations = places.compactMap { place in
          place.box.intersection(holder.box).map { Destination(engine: place.engine, rank: place.rank, box: $0) }
        }
        guard !destinations.isEmpty else { continue }
        // Of those that hold the same, the one with the least to send so far.
        let source = holder.ranks.min { bytes[$0] < bytes[$1] }!
        var part = shard
        part.box = holder.box
        bytes[source] += part.byteCount
        transfers.append(Transfer(source: source, shard: part, destinations: destinations))
      }
    }
    self.transfers = transfers
  }

  /// Bytes that each rank of the trainer sends.
  public var bytesBySource: [Int] {
    transfers.reduce(into: Array(repeating: 0, count: sourceCount)) { $0[$1.source] += $1.shard.byteCount }
  }

  /// What each rank puts into its bucket, round by round. `[round][rank]`
  ///
  /// The buckets of all ranks that are filled and read at a time (those of two rounds) hold `bufferSize` bytes together at
  /// most, unless a single row of a tensor is larger.
  public func rounds(bufferSize: Int) -> [[[WeightShard]]] {
    let senders = Set(transfers.map(\.source)).count
    let limit = max(1, bufferSize / (2 * max(1, senders)))
    var buckets: [[[WeightShard]]] = Array(repeating: [], count: sourceCount)
    var ends = Array(repeating: 0, count: sourceCount)
    for transfer in transfers {
      let source = transfer.source
      for piece in transfer.shard.cut(to: limit) {
        var start = SliceBucket.aligned(ends[source])
        if buckets[source].isEmpty || (start + piece.byteCount > limit && !buckets[source].last!.isEmpty) {
          buckets[source].append([])
          start = 0
        }
        buckets[source][buckets[source].count - 1].append(piece)
        ends[source] = start + piece.byteCount
      }
    }
    return (0..<(buckets.map(\.count).max() ?? 0)).map { round in
      buckets.map { round < $0.count ? $0[round] : [] }
    }
  }
}

extension CopyPlan {
  /// What is sent, where the trainer's ranks have it.
  /// - Parameter shared: by rank, all that it holds, in the type in which it does.
  func buckets(of shared: [SliceBucket]) -> [SliceBucket] {
    struct Place: Hashable {
      let source: Int
      let name: String
      let box: TensorBox
    }
    var sent = Set(transfers.map { Place(source: $0.source, name: $0.shard.name, box: $0.shard.box) })
    return shared.enumerated().map { source, bucket in
      var bucket = bucket
      // Once, though a rank may hold it twice.
      bucket.entries.removeAll { sent.remove(Place(source: source, name: $0.shard.name, box: $0.shard.box)) == nil }
      return bucket
    }
  }
}

extension WeightShard {
  /// Parts of at most so many bytes, cut between rows.
  func cut(to limit: Int) -> [WeightShard] {
    guard byteCount > limit, let dimension = box.sizes.firstIndex(where: { $0 > 1 }) else { return [self] }
    let (offset, size) = (box.offsets[dimension], box.sizes[dimension])
    let step = max(1, limit / (byteCount / size))
    return stride(from: 0, to: size, by: step).map { start in
      var part = self
      part.box.offsets[dimension] = offset + start
      part.box.sizes[dimension] = min(step, size - start)
      return part
    }
  }
}
