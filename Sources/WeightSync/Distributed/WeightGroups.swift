import Foundation
import Inference

/// The groups through which an engine is sent weights, by name.
public actor WeightGroups {
  private enum Entry {
    case joining(WeightGroup)
    case joined(WeightGroup)
  }

  private var groups: [String: Entry] = [:]
  private let timeout: Duration

  /// - Parameter timeout: how long a rank may be waited for.
  public init(timeout: Duration) { self.timeout = timeout }

  /// Returns when the ranks have met; other calls are served meanwhile.
  public func join(_ place: WeightGroupPlace) async throws {
    guard groups[place.name] == nil else {
      throw WeightSyncError("The group '\(place.name)' exists already; destroy it first.")
    }
    let group = WeightGroup(place)
    groups[place.name] = .joining(group)
    do {
      try await group.join(timeout: timeout)
    } catch {
      if case .joining(let current) = groups[place.name], current === group { groups[place.name] = nil }
      throw error
    }
    guard case .joining(let current) = groups[place.name], current === group else {
      throw WeightSyncError("The group '\(place.name)' was destroyed before its ranks had met.")
    }
    groups[place.name] = .joined(group)
  }

  public func receive(
    _ weights: [WeightDescription], from name: String, flattened: Bool
  ) async throws -> sending [NamedTensor] {
    guard case .joined(let group) = groups[name] else {
      throw WeightSyncError(
        "Group \(name) not in \(groups.keys.sorted()). Please call `init_weights_update_group` first.")
    }
    return try await group.receive(weights, flattened: flattened)
  }

  public func destroy(_ name: String) throws {
    guard groups.removeValue(forKey: name) != nil else {
      throw WeightSyncError("The group to be destroyed does not exist.")
    }
  }
}
