/// Which prompts went to which workers, as a radix tree: what their prefix caches hold, approximately.
///
/// Every node but the root holds a run of units, the workers that saw the prompt up to its end, and when each saw it last. A
/// worker that holds a node holds its parents. When the tree outgrows its capacity, the leaves least recently seen go.
package struct PrefixTree: Sendable {
  private struct Node {
    var units: ArraySlice<UInt32>
    var parent: Int
    var children: [UInt32: Int] = [:]
    var holders: [String: Int] = [:]

    var lastUse: Int { holders.values.max() ?? 0 }
  }

  private static let root = 0
  private let capacity: Int
  private var nodes: [Node] = [Node(units: [], parent: root)]
  private var free: [Int] = []
  private var clock = 0
  /// Units in all nodes.
  package private(set) var size = 0

  /// - Parameter capacity: most units that are kept after an insertion.
  package init(capacity: Int) { self.capacity = capacity }

  /// The worker among some that has seen the longest beginning of `key`, the last to see it of several, and that length.
  package func match(_ key: [UInt32], among workers: Set<String>) -> (worker: String, length: Int)? {
    var (index, position) = (Self.root, 0)
    var best: (worker: String, length: Int)?
    while position < key.count, let child = nodes[index].children[key[position]] {
      let node = nodes[child]
      let holders = node.holders.filter { workers.contains($0.key) }
      guard let holder = holders.max(by: { ($0.value, $0.key) < ($1.value, $1.key) }) else { break }
      let common = Self.commonLength(node.units, key[position...])
      position += common
      best = (holder.key, position)
      if common < node.units.count { break }
      index = child
    }
    return best
  }

  /// Notes that a worker sees a prompt.
  package mutating func insert(_ key: [UInt32], worker: String) {
    clock += 1
    var (index, position) = (Self.root, 0)
    while position < key.count {
      if let child = nodes[index].children[key[position]] {
        let common = Self.commonLength(nodes[child].units, key[position...])
        index = common < nodes[child].units.count ? split(child, at: common) : child
        position += common
      } else {
        let new = add(Node(units: key[position...], parent: index))
        nodes[index].children[key[position]] = new
        size += key.count - position
        (index, position) = (new, key.count)
      }
      nodes[index].holders[worker] = clock
    }
    if size > capacity { evict() }
  }

  /// Forgets a worker.
  package mutating func remove(_ worker: String) {
    for index in nodes.indices { nodes[index].holders[worker] = nil }
    for index in nodes.indices where index != Self.root && isLive(index) && nodes[index].children.isEmpty {
      prune(from: index)
    }
  }

  // MARK: Nodes

  private static func commonLength(_ a: ArraySlice<UInt32>, _ b: ArraySlice<UInt32>) -> Int {
    let limit = min(a.count, b.count)
    var count = 0
    while count < limit, a[a.startIndex + count] == b[b.startIndex + count] { count += 1 }
    return count
  }

  /// A freed node has no units.
  private func isLive(_ index: Int) -> Bool { !nodes[index].units.isEmpty }

  private mutating func add(_ node: Node) -> Int {
    var node = node
    // A slice would keep the whole prompt alive.
    node.units = ArraySlice(Array(node.units))
    if let index = free.popLast() {
      nodes[index] = node
      return index
    }
    nodes.append(node)
    return nodes.count - 1
  }

  /// Cuts a node in two.
  /// - Returns: the upper part, a new node.
  private mutating func split(_ index: Int, at count: Int) -> Int {
    let node = nodes[index]
    let upper = add(Node(units: node.units.prefix(count), parent: node.parent, holders: node.holders))
    let lower = ArraySlice(Array(node.units.dropFirst(count)))
    nodes[upper].children[lower.first!] = index
    nodes[node.parent].children[node.units.first!] = upper
    (nodes[index].units, nodes[index].parent) = (lower, upper)
    return upper
  }

  /// Removes a leaf without holders, and its parents as they become such.
  private mutating func prune(from index: Int) {
    var index = index
    while index != Self.root, nodes[index].children.isEmpty, nodes[index].holders.isEmpty {
      let parent = nodes[index].parent
      index = removeLeaf(index, parent)
    }
  }

  private mutating func removeLeaf(_ index: Int, _ parent: Int) -> Int {
    nodes[parent].children[nodes[index].units.first!] = nil
    size -= nodes[index].units.count
    nodes[index] = Node(units: [], parent: Self.root)
    free.append(index)
    return parent
  }

  /// Removes leaves, least recently seen first, until a tenth of the capacity is free: it is long until the next time.
  private mutating func evict() {
    let target = capacity - capacity / 10
    while size > target {
      let leaves = nodes.indices.filter { $0 != Self.root && isLive($0) && nodes[$0].children.isEmpty }
        .map { (index: $0, lastUse: nodes[$0].lastUse) }.sorted { $0.lastUse < $1.lastUse }
      for leaf in leaves {
        if size <= target { return }
        _ = removeLeaf(leaf.index, nodes[leaf.index].parent)
      }
    }
  }

  /// Whether sizes, links and holders agree.
  package var isConsistent: Bool {
    var total = 0
    for index in nodes.indices where index != Self.root && isLive(index) {
      let node = nodes[index]
      total += node.units.count
      let parent = nodes[node.parent]
      guard parent.children[node.units.first!] == index, !node.holders.isEmpty else { return false }
      guard node.parent == Self.root || node.holders.allSatisfy({ parent.holders[$0.key, default: -1] >= $0.value }) else {
        return false
      }
    }
    return total == size && size <= max(capacity, 0)
  }
}
