/// Puts a grammar together from the leaves up; equal nodes are kept once.
final class GrammarBuilder {
  private static let maximumNodes = 500_000

  private var nodes: [Grammar.Node] = []
  private var index: [Grammar.Node: Int] = [:]
  private var rules: [(name: String, node: Int?)] = []
  private var scalarNodes: [ScalarRanges: Int] = [:]

  func add(_ node: Grammar.Node) throws(GrammarError) -> Int {
    if let known = index[node] { return known }
    guard nodes.count < Self.maximumNodes else {
      throw GrammarError("the grammar is too large: it has more than \(Self.maximumNodes) parts.")
    }
    nodes.append(node)
    index[node] = nodes.count - 1
    return nodes.count - 1
  }

  func empty() throws(GrammarError) -> Int { try add(.sequence([])) }
  func never() throws(GrammarError) -> Int { try add(.choice([])) }

  func sequence(_ children: [Int]) throws(GrammarError) -> Int {
    children.count == 1 ? children[0] : try add(.sequence(children))
  }

  func choice(_ children: [Int]) throws(GrammarError) -> Int {
    children.count == 1 ? children[0] : try add(.choice(children))
  }

  func repetition(_ child: Int, _ minimum: Int, _ maximum: Int?) throws(GrammarError) -> Int {
    switch (minimum, maximum) {
    case (_, 0): try empty()
    case (1, 1): child
    default: try add(.repetition(child, minimum: minimum, maximum: maximum))
    }
  }

  func optional(_ child: Int) throws(GrammarError) -> Int { try repetition(child, 0, 1) }

  func literal(_ text: String) throws(GrammarError) -> Int {
    var parts: [Int] = []
    for byte in text.utf8 { parts.append(try add(.bytes(ByteSet(byte...byte)))) }
    return try sequence(parts)
  }

  /// One character of a set.
  func scalar(_ set: ScalarRanges) throws(GrammarError) -> Int {
    if let known = scalarNodes[set] { return known }
    var branches: [Int] = []
    for sequence in set.utf8Sequences {
      var parts: [Int] = []
      for range in sequence { parts.append(try add(.bytes(ByteSet(range)))) }
      branches.append(try self.sequence(parts))
    }
    let node = try choice(branches)
    scalarNodes[set] = node
    return node
  }

  // MARK: - Rules

  /// A rule that is defined later, and may refer to itself.
  func declareRule(_ name: String) -> Int {
    rules.append((name, nil))
    return rules.count - 1
  }

  func define(_ rule: Int, as node: Int) { rules[rule].node = node }
  func rule(_ rule: Int) throws(GrammarError) -> Int { try add(.rule(rule)) }

  // MARK: - The end

  /// The grammar, in which every part can be completed to a text.
  /// - Throws: `GrammarError` when a rule is not defined or left-recursive, or no text matches.
  func finish(_ root: Int) throws(GrammarError) -> Grammar {
    if let rule = rules.first(where: { $0.node == nil }) { throw GrammarError("the rule \(rule.name) is not defined.") }
    let bodies = rules.map { $0.node! }
    let productive = fixpoint(bodies) { node, holds in
      switch node {
      case .bytes: true
      case .sequence(let children): children.allSatisfy(holds)
      case .choice(let children): children.contains(where: holds)
      case .repetition(let child, let minimum, _): minimum == 0 || holds(child)
      case .rule(let rule): holds(bodies[rule])
      }
    }
    guard productive[root] else { throw GrammarError("the grammar matches no text.") }
    var kept = nodes
    for i in kept.indices {
      switch kept[i] {
      case .choice(let children): kept[i] = .choice(children.filter { productive[$0] })
      case .repetition(let child, _, _) where !productive[child]: kept[i] = .sequence([])
      case _ where !productive[i]: kept[i] = .choice([])
      default: break
      }
    }
    nodes = kept
    let nullable = fixpoint(bodies) { node, holds in
      switch node {
      case .bytes: false
      case .sequence(let children): children.allSatisfy(holds)
      case .choice(let children): children.contains(where: holds)
      case .repetition(let child, let minimum, _): minimum == 0 || holds(child)
      case .rule(let rule): holds(bodies[rule])
      }
    }
    try refuseLeftRecursion(bodies, nullable)
    return Grammar(nodes: nodes, rules: bodies, root: root)
  }

  /// The least set of nodes that `property` holds for, given the nodes it holds for.
  private func fixpoint(_ bodies: [Int], _ property: (Grammar.Node, (Int) -> Bool) -> Bool) -> [Bool] {
    var holds = [Bool](repeating: false, count: nodes.count)
    var changed = true
    while changed {
      changed = false
      for i in nodes.indices where !holds[i] && property(nodes[i], { holds[$0] }) { (holds[i], changed) = (true, true) }
    }
    return holds
  }

  /// A rule that may begin with itself would be entered for ever.
  private func refuseLeftRecursion(_ bodies: [Int], _ nullable: [Bool]) throws(GrammarError) {
    func corners(_ i: Int) -> [Int] {
      switch nodes[i] {
      case .bytes: return []
      case .sequence(let children):
        let end = children.firstIndex { !nullable[$0] } ?? children.count - 1
        return end < 0 ? [] : Array(children[...end])
      case .choice(let children): return children
      case .repetition(let child, _, _): return [child]
      case .rule(let rule): return [bodies[rule]]
      }
    }
    enum Mark { case new, open, done }
    var marks = [Mark](repeating: .new, count: nodes.count)
    for start in nodes.indices where marks[start] == .new {
      marks[start] = .open
      var path = [(node: start, rest: corners(start)[...])]
      while let (node, rest) = path.last {
        guard let next = rest.first else {
          marks[node] = .done
          path.removeLast()
          continue
        }
        path[path.count - 1].rest = rest.dropFirst()
        switch marks[next] {
        case .done: break
        case .new:
          marks[next] = .open
          path.append((next, corners(next)[...]))
        case .open:
          let cycle = path[path.firstIndex { $0.node == next }!...]
          let name = cycle.lazy.compactMap { entry -> String? in
            if case .rule(let rule) = self.nodes[entry.node] { self.rules[rule].name } else { nil }
          }.first
          throw GrammarError("the rule \(name ?? "root") may begin with itself (left recursion); write it as a repetition.")
        }
      }
    }
  }
}
