import Torch

/// A trainer's rank 0 in the group of engines that it broadcasts weights to.
public struct WeightSender {
  private var store: Store?
  private var group: WeightGroup?

  public init() {}

  /// Opens the store where the ranks of a new group meet.
  /// - Returns: its port.
  public mutating func open(rankCount: Int, timeout: Duration) throws -> Int {
    leave()
    let store = try Store.tcp(host: "127.0.0.1", port: 0, isServer: true, rankCount: rankCount, timeout: timeout)
    self.store = store
    return store.port
  }

  /// Takes a place in the group; it has to be joined then.
  public mutating func enter(_ place: WeightGroupPlace) -> WeightGroup {
    let group = WeightGroup(place, store: store)
    self.group = group
    return group
  }

  /// Takes a bucket that waits in `exporter` for its broadcast.
  public func bucket(_ number: Int, of exporter: inout WeightExporter) throws -> WeightBroadcast {
    guard let group else { throw WeightSyncError("This rank is in no group to broadcast weights to.") }
    return WeightBroadcast(group: group, bytes: HandedOver(try exporter.take(number)))
  }

  public mutating func leave() {
    group?.leave()
    (group, store) = (nil, nil)
  }
}

/// A bucket and the group that it goes to.
public struct WeightBroadcast: Sendable {
  fileprivate let group: WeightGroup
  fileprivate let bytes: HandedOver<Tensor>

  public func send() async throws { try await group.send(bytes) }
}
