/// Turns a syntax tree into instructions, from the last to the first: each is emitted knowing what comes next.
struct RegexCompiler {
  typealias Instruction = RegexProgram.Instruction

  /// What can come after a node.
  enum Follow: Equatable {
    /// The match is complete.
    case accept
    /// A scalar of this set, or there is no match.
    case set(ScalarSet)
    case anything
  }

  private static let maximumSize = 50_000

  let pattern: String
  private(set) var instructions: [Instruction] = []
  private(set) var dispatch: [UInt64] = []
  private(set) var targets: [Int32] = []
  private(set) var sets: [ScalarSet] = []

  init(pattern: String) { self.pattern = pattern }

  mutating func emit(_ instruction: Instruction) -> Int32 {
    instructions.append(instruction)
    return Int32(instructions.count - 1)
  }

  mutating func number(of set: ScalarSet) -> Int32 {
    if let known = sets.firstIndex(of: set) { return Int32(known) }
    sets.append(set)
    return Int32(sets.count - 1)
  }

  private func error(_ message: String) -> RegexError { RegexError(pattern: pattern, message: message) }

  /// The first instruction of `node`, after which the program goes on at `next`.
  mutating func compile(_ node: RegexNode, next: Int32, follow: Follow) throws(RegexError) -> Int32 {
    guard instructions.count < Self.maximumSize else { throw error("it is too large") }
    switch node {
    case .empty:
      return next
    case .set(let set):
      return emit(Instruction(operation: .set, set: number(of: set), next: next))
    case .sequence(let nodes):
      var (next, follow) = (next, follow)
      for node in nodes.reversed() {
        next = try compile(node, next: next, follow: follow)
        follow = Self.follow(node, then: follow)
      }
      return next
    case .alternation(let branches):
      return try alternation(branches, next: next, follow: follow)
    case .repetition(.set(let set), let minimum, let maximum, let greed):
      var instruction = Instruction(operation: .repeatSet, greed: greed, set: number(of: set), next: next)
      instruction.minimum = Int32(minimum)
      instruction.maximum = maximum.map { Int32($0) } ?? .max
      if greed == .greedy, Self.keepsAll(set, follow) { instruction.greed = .possessive }
      return emit(instruction)
    case .repetition(let body, let minimum, let maximum, let greed):
      return try repetition(body, minimum, maximum, greed, next: next)
    case .atomic(let inner):
      return emit(Instruction(operation: .atomic, next: next, inner: try program(inner)))
    case .lookahead(.set(let set), let negative):
      return emit(Instruction(operation: .lookaheadSet, isNegative: negative, set: number(of: set), next: next))
    case .lookahead(let inner, let negative):
      return emit(Instruction(operation: .lookahead, isNegative: negative, next: next, inner: try program(inner)))
    case .lookbehind(let set, let negative):
      return emit(Instruction(operation: .lookbehind, isNegative: negative, set: number(of: set), next: next))
    case .anchor(let anchor):
      return emit(Instruction(operation: .anchor, anchor: anchor, next: next))
    }
  }

  private mutating func program(_ node: RegexNode) throws(RegexError) -> Int32 {
    try compile(node, next: emit(Instruction(operation: .accept)), follow: .accept)
  }

  // MARK: - Branches

  private mutating func alternation(_ branches: [RegexNode], next: Int32, follow: Follow) throws(RegexError) -> Int32 {
    if branches.count > 64 {
      let rest = RegexNode.alternation(Array(branches[63...]))
      return try alternation(branches[..<63] + [rest], next: next, follow: follow)
    }
    var ways: [(Int32, RegexNode)] = []
    for branch in branches { ways.append((try compile(branch, next: next, follow: follow), branch)) }
    return branch(ways)
  }

  /// Tries the ways in order; a way whose node is nil or nullable is open whatever comes next.
  private mutating func branch(_ ways: [(start: Int32, node: RegexNode?)]) -> Int32 {
    let instruction = Instruction(operation: .branch, inner: Int32(dispatch.count), targets: Int32(targets.count))
    var table = [UInt64](repeating: 0, count: 257)
    for (i, way) in ways.enumerated() {
      targets.append(way.start)
      let bytes = way.node.flatMap { $0.isNullable ? nil : $0.first.leadBytes }
      for byte in 0..<256 where bytes?.contains(UInt8(byte)) ?? true { table[byte] |= 1 << UInt64(i) }
      if bytes == nil { table[256] |= 1 << UInt64(i) }
    }
    dispatch += table
    return emit(instruction)
  }

  private mutating func repetition(
    _ body: RegexNode, _ minimum: Int, _ maximum: Int?, _ greed: RegexNode.Greed, next: Int32
  ) throws(RegexError) -> Int32 {
    if greed == .possessive {
      let inner = RegexNode.repetition(body, minimum: minimum, maximum: maximum, .greedy)
      return emit(Instruction(operation: .atomic, next: next, inner: try program(inner)))
    }
    func ordered(_ again: Int32, _ done: Int32) -> [(Int32, RegexNode?)] {
      greed == .lazy ? [(done, nil), (again, body)] : [(again, body), (done, nil)]
    }
    var start = next
    if let maximum {
      for _ in minimum..<max(minimum, maximum) {
        start = branch(ordered(try compile(body, next: start, follow: .anything), next))
      }
    } else {
      guard !body.isNullable else { throw error("a repeated group can match nothing, which is not supported") }
      // The loop's body leads back to the branch, which can only be filled in when the body is there.
      let loop = emit(Instruction(operation: .branch))
      let filled = branch(ordered(try compile(body, next: loop, follow: .anything), next))
      instructions[Int(loop)] = instructions[Int(filled)]
      start = loop
    }
    for _ in 0..<minimum { start = try compile(body, next: start, follow: .anything) }
    return start
  }

  // MARK: - What follows

  /// Whether giving scalars of `set` back could not help what follows.
  private static func keepsAll(_ set: ScalarSet, _ follow: Follow) -> Bool {
    switch follow {
    case .accept: true
    case .set(let following): following.intersection(set).isEmpty
    case .anything: false
    }
  }

  private static func follow(_ node: RegexNode, then follow: Follow) -> Follow {
    switch node {
    case .empty: return follow
    case .set(let set): return .set(set)
    case .lookahead, .lookbehind, .anchor: return .anything
    case .atomic(let node): return Self.follow(node, then: follow)
    case .sequence(let nodes): return nodes.reversed().reduce(follow) { Self.follow($1, then: $0) }
    case .alternation(let nodes): return nodes.map { Self.follow($0, then: follow) }.reduce(nil, either) ?? follow
    case .repetition(let node, let minimum, _, _):
      let first = Self.follow(node, then: .anything)
      return minimum > 0 ? first : either(first, follow)
    }
  }

  private static func either(_ a: Follow?, _ b: Follow) -> Follow {
    switch (a, b) {
    case (nil, _): b
    case (.set(let a), .set(let b)): .set(a.union(b))
    case (.accept, .accept): .accept
    default: .anything
    }
  }
}
