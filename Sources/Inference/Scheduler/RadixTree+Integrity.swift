extension RadixTree {
  /// Checks that the tree is one, and that its locks are those of its readers.
  /// - Parameter readers: the node that each reader holds.
  /// - Throws: one sentence about the first node that is wrong.
  package func checkIntegrity(readers: some Sequence<Int>) throws(PageAccountingError) {
    var locks = Array(repeating: 0, count: nodes.count)
    for reader in readers { for node in path(from: reader) { locks[node] += 1 } }
    var evictable = 0
    var leaves = 0
    for (number, node) in nodes.enumerated() where node.isLive {
      func expect(_ holds: Bool, _ what: @autoclosure () -> String) throws(PageAccountingError) {
        if !holds { throw PageAccountingError(description: "Node \(number) of the radix tree \(what()).") }
      }
      try expect(node.locks == locks[number], "has \(node.locks) locks for \(locks[number]) readers")
      try expect(
        node.tokens.count == node.pages.count * pageSize, "holds \(node.tokens.count) tokens in \(node.pages.count) pages")
      if let parent = node.parent {
        try expect(!node.pages.isEmpty, "is empty")
        try expect(nodes[parent].children[node.tokens[..<pageSize]] == number, "is not where its parent looks for it")
        try expect(node.isForgotten == nodes[parent].isForgotten, "is found although its parent is not, or not although it is")
        try expect(node.lastUsed <= nodes[parent].lastUsed, "was used later than its parent")
      } else {
        try expect(node.isForgotten == (roots[node.namespace] != number), "is a root that is lost, or found although forgotten")
        try expect(node.locks > 0 || !node.children.isEmpty, "is a root for nobody")
      }
      let isUnlockedLeaf = node.parent != nil && node.locks == 0 && node.children.isEmpty
      try expect(unlockedLeaves.contains(number) == isUnlockedLeaf, "may be evicted but is not queued for it, or the reverse")
      if node.locks == 0 {
        try expect(!node.isForgotten, "is forgotten and has no reader, and was not freed")
        evictable += node.pages.count
        leaves += isUnlockedLeaf ? 1 : 0
      }
    }
    guard evictable == evictablePages, leaves == unlockedLeaves.count else {
      throw PageAccountingError(
        description: "The radix tree counts \(evictablePages) pages and \(unlockedLeaves.count) leaves that may be evicted, "
          + "and has \(evictable) and \(leaves).")
    }
  }

  /// The pages of all nodes, in no particular order.
  package var allPages: [Int] { nodes.flatMap(\.pages) }
}
