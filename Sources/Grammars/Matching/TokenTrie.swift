/// The bytes of all tokens of a vocabulary as a tree, laid out in the order of a walk through it.
public struct TokenTrie: Sendable {
  public let vocabularySize: Int
  /// The byte that leads to each node; the root is left out.
  private var bytes: [UInt8] = []
  /// How many bytes lead to each node in all.
  private var depths: [UInt16] = []
  /// Where the walk goes on when a node and all below it are left out.
  private var ends: [Int32] = []
  /// The tokens of node `i` are `tokens[firstToken[i]..<firstToken[i + 1]]`.
  private var firstToken: [Int32] = [0]
  private var tokens: [Int32] = []
  private var maximumDepth = 0

  /// - Parameter tokens: the bytes of each token by id; nil or empty: the token is never allowed.
  public init(_ tokens: [[UInt8]?]) {
    vocabularySize = tokens.count
    let texts = tokens.map { $0 ?? [] }
    let order = texts.indices.filter { !texts[$0].isEmpty && texts[$0].count <= UInt16.max }
      .sorted { texts[$0].lexicographicallyPrecedes(texts[$1]) }
    // The nodes on the way to the last token.
    var path: [Int] = []
    var last: [UInt8] = []
    for id in order {
      let text = texts[id]
      let common = zip(last, text).prefix { $0 == $1 }.count
      for node in path[common...] { ends[node] = Int32(bytes.count) }
      path.removeSubrange(common...)
      for byte in text[common...] {
        path.append(bytes.count)
        bytes.append(byte)
        depths.append(UInt16(path.count))
        ends.append(0)
        firstToken.append(Int32(self.tokens.count))
      }
      self.tokens.append(Int32(id))
      firstToken[firstToken.count - 1] = Int32(self.tokens.count)
      maximumDepth = max(maximumDepth, text.count)
      last = text
    }
    for node in path { ends[node] = Int32(bytes.count) }
  }

  /// The tokens that the automaton can read from `state` on.
  func mask(_ automaton: inout Automaton, from state: Automaton.State) -> TokenMask {
    var mask = TokenMask(vocabularySize: vocabularySize)
    var states = [Automaton.State](repeating: state, count: maximumDepth + 1)
    let classes = automaton.classes.classes
    var node = 0
    while node < bytes.count {
      let depth = Int(depths[node])
      let next = automaton.next(states[depth - 1], byteClass: classes[Int(bytes[node])])
      if next == Automaton.dead {
        node = Int(ends[node])
        continue
      }
      states[depth] = next
      for index in firstToken[node]..<firstToken[node + 1] { mask.insert(Int(tokens[Int(index)])) }
      node += 1
    }
    return mask
  }
}

/// A set of tokens, one bit each: token `t` is bit `t % 8` of byte `t / 8`.
public struct TokenMask: Sendable, Equatable {
  public private(set) var bytes: [UInt8]
  public private(set) var count = 0

  public init(vocabularySize: Int) { bytes = Array(repeating: 0, count: (vocabularySize + 7) / 8) }

  public func contains(_ token: Int) -> Bool { bytes[token >> 3] >> UInt8(token & 7) & 1 != 0 }

  public mutating func insert(_ token: Int) {
    if !contains(token) { count += 1 }
    bytes[token >> 3] |= 1 << UInt8(token & 7)
  }
}
