import Torch

/// How a router chooses among workers. Names are sglang_router's.
public enum RoutingPolicyKind: String, Sendable, Equatable, Codable, CaseIterable {
  /// Where the longest prefix of the prompt was sent before, unless loads are far apart.
  case cacheAware = "cache_aware"
  /// The same key goes to the same worker, and few keys move when workers come and go.
  case consistentHashing = "consistent_hashing"
  case roundRobin = "round_robin"
  /// The one with the fewest requests.
  case leastLoad = "least_load"
  /// The one with fewer requests of two drawn at random.
  case powerOfTwo = "power_of_two"
  case random
}

/// When `cacheAware` gives up on the cache, and how much it remembers. Names and defaults are sglang_router's.
public struct CacheAwareLimits: Sendable, Equatable, Codable {
  /// Loads are far apart when the highest is above the lowest by more than this …
  public var balanceAbsThreshold = 64
  /// … and above this many times the lowest.
  public var balanceRelThreshold = 1.5
  /// The share of the prompt that must be known for the cache to decide.
  public var cacheThreshold = 0.3
  /// Tokens, or bytes of text, that the tree of prompts may hold.
  public var maxTreeSize = 1 << 26

  public init() {}
}

/// A worker that may be chosen.
package struct RoutingCandidate: Sendable, Equatable {
  package var id: String
  /// Requests that it serves now.
  package var load: Int

  package init(id: String, load: Int) { (self.id, self.load) = (id, load) }
}

/// Chooses workers; remembers what the policy needs.
package struct RoutingPolicy: Sendable {
  package let kind: RoutingPolicyKind
  private let limits: CacheAwareLimits
  private var turn = 0
  private var tree: PrefixTree
  private var random: SplitMix64

  package init(_ kind: RoutingPolicyKind, limits: CacheAwareLimits = CacheAwareLimits(), seed: UInt64 = .random(in: 0 ... .max)) {
    (self.kind, self.limits) = (kind, limits)
    tree = PrefixTree(capacity: limits.maxTreeSize)
    random = SplitMix64(seed: seed)
  }

  /// Units that the tree of prompts holds.
  package var treeSize: Int { tree.size }

  /// - Parameter candidates: in the order in which they were added, not empty.
  /// - Returns: the place of one among them.
  package mutating func choose(_ key: RoutingKey, among candidates: [RoutingCandidate]) -> Int {
    switch kind {
    case .roundRobin:
      turn &+= 1
      return Int(UInt(bitPattern: turn &- 1) % UInt(candidates.count))
    case .random: return Int.random(in: candidates.indices, using: &random)
    case .leastLoad: return leastLoaded(candidates)
    case .powerOfTwo:
      let first = Int.random(in: candidates.indices, using: &random)
      let second = Int.random(in: candidates.indices, using: &random)
      return candidates[second].load < candidates[first].load ? second : first
    case .consistentHashing: return Self.highestWeight(key.hash, candidates)
    case .cacheAware: return cacheAware(key, candidates)
    }
  }

  /// Forgets what is known of a worker.
  package mutating func remove(_ worker: String) { tree.remove(worker) }

  /// Of equally loaded ones any, so that they share the work.
  private mutating func leastLoaded(_ candidates: [RoutingCandidate]) -> Int {
    let least = candidates.map(\.load).min()!
    return candidates.indices.filter { candidates[$0].load == least }.randomElement(using: &random)!
  }

  /// Rendezvous hashing: each worker has a weight for the key, and the highest wins. A key moves only when its worker goes, or
  /// to a worker that comes.
  private static func highestWeight(_ key: UInt64, _ candidates: [RoutingCandidate]) -> Int {
    func weight(_ candidate: RoutingCandidate) -> UInt64 {
      var hash = StableHash()
      hash.add(candidate.id.utf8)
      for shift in stride(from: 0, to: 64, by: 8) { hash.add(CollectionOfOne(UInt8(truncatingIfNeeded: key >> UInt64(shift)))) }
      return hash.value
    }
    let weights = candidates.map(weight)
    return candidates.indices.max { (weights[$0], candidates[$0].id) < (weights[$1], candidates[$1].id) }!
  }

  private mutating func cacheAware(_ key: RoutingKey, _ candidates: [RoutingCandidate]) -> Int {
    let (least, most) = (candidates.map(\.load).min()!, candidates.map(\.load).max()!)
    let areFarApart = most - least > limits.balanceAbsThreshold && Double(most) > limits.balanceRelThreshold * Double(least)
    var chosen: Int?
    if !areFarApart, key.prompt.count > 1 {
      let match = tree.match(key.prompt, among: Set(candidates.map(\.id)))
      // The first unit is the mark of the kind of prompt.
      if let match, Double(match.length - 1) > limits.cacheThreshold * Double(key.prompt.count - 1) {
        chosen = candidates.firstIndex { $0.id == match.worker }
      }
    }
    let choice = chosen ?? leastLoaded(candidates)
    if key.prompt.count > 1 { tree.insert(key.prompt, worker: candidates[choice].id) }
    return choice
  }
}
