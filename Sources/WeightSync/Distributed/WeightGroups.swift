import Foundation
import Inference

/// The groups through which an engine is sent weights, by name.
public actor WeightGroups {
  private enum Entry {
    case joining([WeightGroup])
    case joined([WeightGroup])

    var ranks: [WeightGroup] {
      switch self {
      case .joining(let ranks), .joined(let ranks): ranks
      }
    }
  }

  private var groups: [String: Entry] = [:]
  private let timeout: Duration

  /// - Parameter timeout: how long a rank may be waited for.
  public init(timeout: Duration) { self.timeout = timeout }

  /// Returns when the ranks have met; other calls are served meanwhile.
  /// - Parameters:
  ///   - place: of the engine's first rank.
  ///   - rankCount: ranks of the engine, each with a place and, on GPUs, a device of its own after the first one's. All are sent
  ///     the same.
  public func join(_ place: WeightGroupPlace, rankCount: Int = 1) async throws {
    guard groups[place.name] == nil else {
      throw WeightSyncError("The group '\(place.name)' exists already; destroy it first.")
    }
    let ranks = (0..<rankCount).map { index in
      var own = place
      own.rank += index
      if own.device.kind == .cuda { own.device = .cuda(place.device.index + index) }
      return WeightGroup(own)
    }
    groups[place.name] = .joining(ranks)
    do {
      try await Self.each(ranks) { [timeout] in try await $0.join(timeout: timeout) }
    } catch {
      if groups[place.name]?.ranks.first === ranks[0] { groups[place.name] = nil }
      throw error
    }
    guard case .joining(let current) = groups[place.name], current.first === ranks[0] else {
      throw WeightSyncError("The group '\(place.name)' was destroyed before its ranks had met.")
    }
    groups[place.name] = .joined(ranks)
  }

  /// - Returns: what the first of the engine's ranks received.
  public func receive(
    _ weights: [WeightDescription], from name: String, flattened: Bool, checksum: String? = nil
  ) async throws -> sending [NamedTensor] {
    guard case .joined(let ranks) = groups[name] else {
      throw WeightSyncError(
        "Group \(name) not in \(groups.keys.sorted()). Please call `init_weights_update_group` first.")
    }
    async let others: Void = Self.each(Array(ranks.dropFirst())) { _ = try await $0.receive(weights, flattened: flattened) }
    let received = try await ranks[0].receive(weights, flattened: flattened, checksum: checksum)
    try await others
    return received
  }

  public func destroy(_ name: String) throws {
    guard let entry = groups.removeValue(forKey: name) else {
      throw WeightSyncError("The group to be destroyed does not exist.")
    }
    for rank in entry.ranks { rank.leave() }
  }

  private static func each(_ ranks: [WeightGroup], _ body: @escaping @Sendable (WeightGroup) async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for rank in ranks { group.addTask { try await body(rank) } }
      try await group.waitForAll()
    }
  }
}
