import Torch

/// An item that a rank could write, as the other ranks need to know it.
public struct PlannedItem: Codable, Hashable, Sendable {
  public let name: String
  /// Where a shard begins; nil for an object.
  public let offsets: [Int]?
  public let byteCount: Int

  public init(name: String, offsets: [Int]?, byteCount: Int) {
    (self.name, self.offsets, self.byteCount) = (name, offsets, byteCount)
  }

  /// Items of the same key are replicas of each other.
  struct Key: Hashable {
    var name: String
    var offsets: [Int]?
  }

  var key: Key { Key(name: name, offsets: offsets) }
}

extension SaveItem {
  public var plan: PlannedItem {
    switch self {
    case .object(let object): PlannedItem(name: object.name, offsets: nil, byteCount: object.bytes.count)
    case .shard(let shard): PlannedItem(name: shard.name, offsets: shard.offsets, byteCount: shard.tensor.byteCount)
    }
  }
}

/// Who writes what, where several ranks hold the same.
///
/// A trainer that knows its replicas can give each shard to one rank itself. Otherwise all ranks exchange their plans,
/// and each calls this with all of them: it is a function of the plans alone.
public enum WriteAssignment {
  /// - Parameter plans: what each rank holds.
  /// - Returns: for each rank, which of its items it writes, by their places, ascending. Of replicas, the one is kept
  ///   whose rank has least to write so far, counting items in the order of ranks.
  public static func assign(_ plans: [[PlannedItem]]) -> [[Int]] {
    var holders: [PlannedItem.Key: [(rank: Int, place: Int)]] = [:]
    var order: [PlannedItem.Key] = []
    for (rank, plan) in plans.enumerated() {
      for (place, item) in plan.enumerated() {
        if holders[item.key] == nil { order.append(item.key) }
        holders[item.key, default: []].append((rank, place))
      }
    }
    var totals = Array(repeating: 0, count: plans.count)
    var assigned = Array(repeating: [Int](), count: plans.count)
    for key in order {
      let (rank, place) = holders[key]!.min { (totals[$0.rank], $0.rank) < (totals[$1.rank], $1.rank) }!
      assigned[rank].append(place)
      totals[rank] += max(1, plans[rank][place].byteCount)
    }
    return assigned.map { $0.sorted() }
  }
}
