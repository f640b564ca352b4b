/// Whose prompts may share KV: requests of one namespace (SGLang's `extra_key`, `cache_salt` and adapter).
package struct CacheNamespace: Hashable, Sendable {
  package var extraKey: String?
  package var cacheSalt: String?
  /// The number of an adapter.
  package var adapter: Int?

  package init(extraKey: String? = nil, cacheSalt: String? = nil, adapter: Int? = nil) {
    (self.extraKey, self.cacheSalt, self.adapter) = (extraKey, cacheSalt, adapter)
  }
}

/// Which KV pages hold which tokens: a radix tree over token sequences, cut at page boundaries (SGLang's RadixAttention).
///
///     root ─ [system prompt] ─┬─ [question 1] ─┬─ [answer a]
///                             │                └─ [answer b]
///                             └─ [question 2]
///
/// A node holds pages and the tokens that fill them; the KV of a sequence is that of its path from the root.
///
/// Who reads a path locks its last node, and with it all nodes above. What no lock protects can be evicted: pages go one
/// by one from the end of the leaf that was used longest ago, so a prefix outlives what follows it. Time is a count of
/// locks taken and given back. Nothing depends on the order of a dictionary, so all ranks of an engine evict alike.
///
/// Where a model keeps states besides KV, only the ends of nodes that have some can be matched: a node has those after all
/// tokens of its path, until it is cut or their place is wanted for another's.
package struct RadixTree: Sendable {
  struct Node: Sendable {
    var tokens: [Int] = []
    var pages: [Int] = []
    /// nil: a root.
    var parent: Int?
    /// By the tokens of their first pages.
    var children: [ArraySlice<Int>: Int] = [:]
    /// How many readers hold this node or one below.
    var locks = 0
    var lastUsed = 0
    /// Of a root.
    var namespace = CacheNamespace()
    /// Cut off from its root: nobody new finds it, and its pages go with its last reader.
    var isForgotten = false
    var isLive = true
    /// Where the states after its last token are; nil: nowhere.
    var states: Int?
  }

  /// How far the tree holds a sequence. Good until the tree changes.
  package struct Match: Sendable, Equatable {
    /// Where the matched path ends; nil: the namespace has no root yet.
    package fileprivate(set) var node: Int?
    /// Pages of `node` that match.
    package fileprivate(set) var pagesOfNode = 0
    /// Matched pages in all.
    package fileprivate(set) var pageCount = 0
    /// How many of them no reader locks: locking the match takes these from what can be evicted.
    package fileprivate(set) var unlockedPages = 0
  }

  package let pageSize: Int
  var nodes: [Node] = []
  /// Numbers of nodes that are no longer in use, the last given back on top.
  private var spare: [Int] = []
  var roots: [CacheNamespace: Int] = [:]
  /// Leaves that may be evicted.
  var unlockedLeaves = LeafQueue()
  /// Pages that no reader locks.
  package private(set) var evictablePages = 0
  private var clock = 0
  /// Goes up when the tree forgets: paths locked before are no longer part of it.
  package private(set) var generation = 0

  /// Whether a prefix is of use only where the states after it are kept.
  private let needsStates: Bool
  private var droppedStates: [Int] = []

  package init(pageSize: Int, needsStates: Bool = false) { (self.pageSize, self.needsStates) = (pageSize, needsStates) }
}

// MARK: - Looking up

extension RadixTree {
  /// The longest prefix of `tokens[..<limit]` in the tree, in whole pages; where that is needed, one with states.
  package func match(_ tokens: [Int], limit: Int, in namespace: CacheNamespace) -> Match {
    var match = Match(node: roots[namespace])
    var withStates = match
    let most = limit / pageSize
    while let node = match.node, match.pageCount < most, let child = child(of: node, tokens, at: match.pageCount) {
      let common = commonPages(child, tokens, from: match.pageCount, to: most)
      (match.node, match.pagesOfNode) = (child, common)
      match.pageCount += common
      if nodes[child].locks == 0 { match.unlockedPages += common }
      if common < nodes[child].pages.count { break }
      if nodes[child].states != nil { withStates = match }
    }
    return needsStates ? withStates : match
  }

  /// The pages of the path that ends with a node, from the root on.
  package func pages(through node: Int) -> [Int] {
    path(from: node).reversed().flatMap { nodes[$0].pages }
  }

  /// A node and those above it, the root last.
  func path(from node: Int) -> UnfoldFirstSequence<Int> { sequence(first: node) { nodes[$0].parent } }

  private func key(_ tokens: [Int], at page: Int) -> ArraySlice<Int> { tokens[page * pageSize..<(page + 1) * pageSize] }

  private func child(of node: Int, _ tokens: [Int], at page: Int) -> Int? { nodes[node].children[key(tokens, at: page)] }

  /// How many of a node's pages hold the pages `start..<end` of `tokens`.
  private func commonPages(_ node: Int, _ tokens: [Int], from start: Int, to end: Int) -> Int {
    let count = min(nodes[node].pages.count, end - start) * pageSize
    let common = nodes[node].tokens.withUnsafeBufferPointer { own in
      tokens.withUnsafeBufferPointer { other in
        (0..<count).first { own[$0] != other[start * pageSize + $0] } ?? count
      }
    }
    return common / pageSize
  }
}

// MARK: - Locking

extension RadixTree {
  /// Locks the path of a match; the lock is given back with `unlock`.
  package mutating func lock(_ match: Match, in namespace: CacheNamespace) -> Int {
    var node = match.node ?? addRoot(namespace)
    if match.node != nil, match.pagesOfNode < nodes[node].pages.count { node = split(node, at: match.pagesOfNode) }
    lock(node)
    return node
  }

  /// Gives a lock back.
  /// - Returns: pages that nobody can find any more and that now have no reader.
  package mutating func unlock(_ node: Int) -> [Int] {
    clock += 1
    var freed: [Int] = []
    for node in Array(path(from: node)) {
      precondition(nodes[node].locks > 0, "node \(node) of the radix tree is unlocked twice")
      nodes[node].locks -= 1
      nodes[node].lastUsed = clock
      guard nodes[node].locks == 0 else { continue }
      if nodes[node].isForgotten {
        freed += nodes[node].pages
        remove(node)
      } else {
        evictablePages += nodes[node].pages.count
        settle(node)
      }
    }
    return freed
  }

  /// Adds pages `start..<end` of `tokens` below the locked node that holds those before `start`, and moves the lock to
  /// the node that ends with them.
  /// - Returns: that node, and the pages that now hold `start..<end`: where the tree had them already, the tree's.
  package mutating func extend(_ locked: Int, tokens: [Int], pages: [Int], _ range: Range<Int>) -> (node: Int, pages: [Int]) {
    var node = locked
    var page = range.lowerBound
    var held = Array(pages[range])
    while page < range.upperBound {
      guard let child = child(of: node, tokens, at: page) else {
        let new = page..<range.upperBound
        let newTokens = tokens[new.lowerBound * pageSize..<new.upperBound * pageSize]
        if node == locked, nodes[node].parent != nil, nodes[node].locks == 1, nodes[node].children.isEmpty,
          nodes[node].states == nil
        {
          // Nobody else knows where this node ends.
          nodes[node].tokens += newTokens
          nodes[node].pages += pages[new]
        } else {
          node = addChild(of: node, Node(tokens: Array(newTokens), pages: Array(pages[new]), parent: node))
        }
        break
      }
      let common = commonPages(child, tokens, from: page, to: range.upperBound)
      let place = page - range.lowerBound
      held.replaceSubrange(place..<place + common, with: nodes[child].pages[..<common])
      page += common
      node = common < nodes[child].pages.count ? split(child, at: common) : child
    }
    if node != locked {
      lock(node)
      let freed = unlock(locked)
      precondition(freed.isEmpty, "a forgotten node of the radix tree was extended")
    }
    return (node, held)
  }

  private mutating func lock(_ node: Int) {
    clock += 1
    for node in Array(path(from: node)) {
      if nodes[node].locks == 0 {
        evictablePages -= nodes[node].pages.count
        unlockedLeaves.remove(node)
      }
      nodes[node].locks += 1
      nodes[node].lastUsed = clock
    }
  }
}

// MARK: - Eviction

extension RadixTree {
  /// Takes at most so many pages out of the tree, those used longest ago first.
  package mutating func evict(_ count: Int) -> [Int] {
    var evicted: [Int] = []
    while evicted.count < count, let leaf = unlockedLeaves.first {
      let taken = min(count - evicted.count, nodes[leaf].pages.count)
      dropStates(of: leaf)
      evicted += nodes[leaf].pages.suffix(taken)
      evictablePages -= taken
      if taken < nodes[leaf].pages.count {
        nodes[leaf].pages.removeLast(taken)
        nodes[leaf].tokens.removeLast(taken * pageSize)
      } else {
        let parent = nodes[leaf].parent!
        remove(leaf)
        settle(parent)
      }
    }
    return evicted
  }

  /// Empties the tree. Paths that are locked stay readable for those who hold them, and are found by nobody else.
  /// - Returns: the pages of all others.
  package mutating func forget() -> [Int] {
    generation += 1
    (roots, evictablePages) = ([:], 0)
    unlockedLeaves.removeAll()
    var freed: [Int] = []
    for node in nodes.indices where nodes[node].isLive && !nodes[node].isForgotten {
      if nodes[node].locks == 0 {
        freed += nodes[node].pages
        remove(node)
      } else {
        nodes[node].isForgotten = true
      }
    }
    return freed
  }

  /// Does what is due for a node that has no reader or lost a child: a leaf may be evicted, a root without children goes.
  private mutating func settle(_ node: Int) {
    guard nodes[node].locks == 0, nodes[node].children.isEmpty else { return }
    if nodes[node].parent == nil {
      roots[nodes[node].namespace] = nil
      remove(node)
    } else {
      unlockedLeaves.insert(node, lastUsed: nodes[node].lastUsed)
    }
  }
}

// MARK: - States

extension RadixTree {
  /// Where the states after a node's last token are.
  func states(at node: Int) -> Int? { nodes[node].states }

  /// - Returns: false where the node has some already.
  mutating func keep(states slot: Int, at node: Int) -> Bool {
    guard nodes[node].states == nil else { return false }
    nodes[node].states = slot
    return true
  }

  /// Drops the states of the node that was used longest ago, of those without a reader.
  mutating func dropOldestStates() {
    let unlocked = nodes.indices.filter { nodes[$0].states != nil && nodes[$0].locks == 0 }
    guard let oldest = unlocked.min(by: { (nodes[$0].lastUsed, $0) < (nodes[$1].lastUsed, $1) }) else { return }
    dropStates(of: oldest)
  }

  private mutating func dropStates(of node: Int) {
    if let slot = nodes[node].states { droppedStates.append(slot) }
    nodes[node].states = nil
  }

  /// The places of states that were dropped since the last call.
  mutating func takeDroppedStates() -> [Int] {
    defer { droppedStates = [] }
    return droppedStates
  }

  var allStates: [Int] { nodes.compactMap(\.states) }
}

// MARK: - Nodes

extension RadixTree {
  private mutating func add(_ node: Node) -> Int {
    guard let place = spare.popLast() else {
      nodes.append(node)
      return nodes.count - 1
    }
    nodes[place] = node
    return place
  }

  private mutating func addRoot(_ namespace: CacheNamespace) -> Int {
    let root = add(Node(namespace: namespace))
    roots[namespace] = root
    return root
  }

  /// A new leaf without readers, to be locked at once.
  private mutating func addChild(of parent: Int, _ child: Node) -> Int {
    unlockedLeaves.remove(parent)
    let node = add(child)
    nodes[parent].children[firstPage(of: child.tokens)] = node
    evictablePages += child.pages.count
    return node
  }

  /// Cuts a node after its first `count` pages. The lower part keeps the number, and with it the readers that hold it.
  /// - Returns: the upper part.
  private mutating func split(_ node: Int, at count: Int) -> Int {
    var upper = nodes[node]
    let (lowerTokens, lowerPages) = (Array(upper.tokens[(count * pageSize)...]), Array(upper.pages[count...]))
    upper.tokens.removeSubrange((count * pageSize)...)
    upper.pages.removeSubrange(count...)
    upper.children = [firstPage(of: lowerTokens): node]
    upper.states = nil
    let place = add(upper)
    nodes[upper.parent!].children[firstPage(of: upper.tokens)] = place
    (nodes[node].tokens, nodes[node].pages, nodes[node].parent) = (lowerTokens, lowerPages, place)
    return place
  }

  /// A key of its own memory, so that it does not keep a node's alive.
  private func firstPage(of tokens: [Int]) -> ArraySlice<Int> { ArraySlice(Array(tokens[..<pageSize])) }

  private mutating func remove(_ node: Int) {
    if let parent = nodes[node].parent, nodes[parent].isLive {
      nodes[parent].children[nodes[node].tokens[..<pageSize]] = nil
    }
    unlockedLeaves.remove(node)
    dropStates(of: node)
    nodes[node] = Node(isLive: false)
    spare.append(node)
  }
}
