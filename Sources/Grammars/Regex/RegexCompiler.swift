/// Makes parts of a grammar from regular expressions.
struct RegexCompiler {
  let builder: GrammarBuilder
  /// How one character of a set is written; in JSON, some are escaped.
  private let write: (ScalarRanges) throws(GrammarError) -> Int

  init(_ builder: GrammarBuilder) {
    self.builder = builder
    write = { set throws(GrammarError) in try builder.scalar(set) }
  }

  init(_ builder: GrammarBuilder, write: @escaping (ScalarRanges) throws(GrammarError) -> Int) {
    (self.builder, self.write) = (builder, write)
  }

  /// Texts that match as a whole.
  func wholeMatch(_ node: RegexNode) throws(GrammarError) -> Int { try compile(node, start: .bare, end: .bare) }

  /// Texts in which a part matches.
  func partMatch(_ node: RegexNode) throws(GrammarError) -> Int { try compile(node, start: .open, end: .open) }

  /// What is on one side of a node.
  private enum Side {
    /// The end of the text.
    case bare
    /// Any text, unless an anchor is there.
    case open
    /// Something else, so that an anchor cannot hold.
    case inner
  }

  private func compile(_ node: RegexNode, start: Side, end: Side) throws(GrammarError) -> Int {
    switch node {
    case .set(let set): return try surrounded(write(set), start, end)
    case .repetition(let child, let minimum, let maximum):
      let repeated = try builder.repetition(compile(child, start: .inner, end: .inner), minimum, maximum)
      return try surrounded(repeated, start, end)
    case .start, .end: return try compile(.sequence([node]), start: start, end: end)
    case .alternation(let branches):
      guard branches.contains(where: \.hasAnchor) else {
        var parts: [Int] = []
        for branch in branches { parts.append(try compile(branch, start: .inner, end: .inner)) }
        return try surrounded(builder.choice(parts), start, end)
      }
      var parts: [Int] = []
      for branch in branches { parts.append(try compile(branch, start: start, end: end)) }
      return try builder.choice(parts)
    case .sequence(let children): return try sequence(children, start, end)
    }
  }

  private func sequence(_ children: [RegexNode], _ start: Side, _ end: Side) throws(GrammarError) -> Int {
    var (rest, start, end) = (children[...], start, end)
    while rest.first == .start {
      if start == .inner { throw GrammarError("the regex has a '^' that is not at the beginning, which is not supported.") }
      start = .bare
      rest.removeFirst()
    }
    while rest.last == .end {
      if end == .inner { throw GrammarError("the regex has a '$' that is not at the end, which is not supported.") }
      end = .bare
      rest.removeLast()
    }
    if rest.count == 1, rest[rest.startIndex].hasAnchor { return try compile(rest[rest.startIndex], start: start, end: end) }
    var parts: [Int] = []
    for (i, child) in zip(rest.indices, rest) {
      let isOutside = child.hasAnchor
      parts.append(
        try compile(
          child, start: isOutside && i == rest.startIndex ? start : .inner,
          end: isOutside && i == rest.endIndex - 1 ? end : .inner))
    }
    // A group at an end that has anchors of its own was told what is beside it.
    return try surrounded(
      builder.sequence(parts), rest.first?.hasAnchor == true ? .inner : start, rest.last?.hasAnchor == true ? .inner : end)
  }

  private func surrounded(_ node: Int, _ start: Side, _ end: Side) throws(GrammarError) -> Int {
    guard start == .open || end == .open else { return node }
    let any = try builder.repetition(write(.all), 0, nil)
    return try builder.sequence((start == .open ? [any] : []) + [node] + (end == .open ? [any] : []))
  }
}
