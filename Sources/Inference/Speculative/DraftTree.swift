/// What may come next in a response: a tree of tokens, each after those on its way from the root, the response so far. A
/// chain where no place has two.
///
/// Nodes stand after those that they follow, and the likeliest first, so that a beginning of a tree is a tree, and the best of
/// its size. What follows a node differs in its token.
public struct DraftTree: Sendable, Equatable, ExpressibleByArrayLiteral {
  /// Stands for the response so far.
  package static let root = -1

  public private(set) var tokens: [Int] = []
  /// Of each node the one that it follows; −1: the root.
  public private(set) var parents: [Int] = []

  package init() {}

  /// One token after another.
  package init(chain tokens: some Sequence<Int>) {
    self.tokens = Array(tokens)
    parents = Array(Self.root..<Self.root + self.tokens.count)
  }

  public init(arrayLiteral tokens: Int...) { self.init(chain: tokens) }

  init(tokens: [Int], parents: [Int]) {
    precondition(tokens.count == parents.count && zip(parents.indices, parents).allSatisfy { $1 < $0 && $1 >= Self.root })
    (self.tokens, self.parents) = (tokens, parents)
  }

  /// Adds a node.
  /// - Returns: its place.
  @discardableResult
  package mutating func add(_ token: Int, after parent: Int) -> Int {
    precondition(parent >= Self.root && parent < tokens.count && child(of: parent, token: token) == nil)
    tokens.append(token)
    parents.append(parent)
    return tokens.count - 1
  }

  public var count: Int { tokens.count }
  public var isEmpty: Bool { tokens.isEmpty }

  /// Whether some place has two tokens.
  public var branches: Bool { zip(parents.indices, parents).contains { $1 != $0 - 1 } }

  /// Of each node how many tokens lead to it, its own among them.
  public var depths: [Int] {
    parents.reduce(into: []) { depths, parent in depths.append(parent == Self.root ? 1 : depths[parent] + 1) }
  }

  /// The node after `parent` with this token.
  package func child(of parent: Int, token: Int) -> Int? {
    tokens.indices.first { $0 > parent && parents[$0] == parent && tokens[$0] == token }
  }

  /// The nodes that `tokens` pass from the root on, as far as the tree knows them.
  package func path(along tokens: some Sequence<Int>) -> [Int] {
    var path: [Int] = []
    for token in tokens {
      guard let next = child(of: path.last ?? Self.root, token: token) else { break }
      path.append(next)
    }
    return path
  }

  /// Itself and what it follows, the last first.
  func ancestry(of node: Int) -> [Int] {
    Array(sequence(first: node) { [parents] in parents[$0] == Self.root ? nil : parents[$0] })
  }

  /// The nodes that are wanted, without those that follow one that is not.
  /// - Parameter isWanted: asked of the nodes in their order, and only of those whose parent is wanted.
  package func filter(_ isWanted: (_ node: Int) -> Bool) -> DraftTree {
    var result = DraftTree()
    var places: [Int: Int] = [Self.root: Self.root]
    for node in tokens.indices {
      guard let parent = places[parents[node]], isWanted(node) else { continue }
      places[node] = result.count
      result.tokens.append(tokens[node])
      result.parents.append(parent)
    }
    return result
  }

  /// The first nodes.
  package func prefix(_ count: Int) -> DraftTree {
    DraftTree(tokens: Array(tokens.prefix(count)), parents: Array(parents.prefix(count)))
  }
}
