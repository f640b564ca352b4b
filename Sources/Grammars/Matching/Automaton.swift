/// Recognises the texts of a grammar byte by byte: a pushdown automaton that is made deterministic where it is used.
///
/// A state is the set of all places in the grammar that the bytes so far may have led to, each with the stack of what
/// follows it. Stacks and states are kept once and numbered, and so are the transitions between states, so that going
/// the same way again costs one look into a table.
public struct Automaton: Sendable {
  public typealias State = Int32

  /// Where no text leads to.
  static let dead: State = -1
  private static let unknown: State = -2
  /// A grammar whose texts can be read in more ways than this at once is given up there.
  private static let maximumWays = 20_000

  /// What follows once something is matched: the rest of a sequence (`position` is the next element) or of a repetition
  /// (`position` is how many there were), and then the `parent`. Stack 0 is empty: the text may end.
  private struct Frame: Hashable {
    var node: Int32
    var position: Int32
    var parent: Int32
  }

  /// A node and what follows it. For a state the nodes are sets of bytes; -1 stands for what follows alone.
  private struct Place: Hashable {
    var node: Int32
    var stack: Int32
  }

  private struct Key: Hashable {
    var places: [Place]
    var isAccepting: Bool
  }

  private let grammar: Grammar
  let classes: ByteClasses
  private var frames: [Frame]
  private var frameNumbers: [Frame: Int32] = [:]
  private var states: [Key] = []
  private var stateNumbers: [Key: State] = [:]
  /// `[states, classes]`
  private var transitions: [State] = []

  /// The state before the first byte.
  public let start: State = 0

  /// - Throws: `GrammarError` when the grammar is too ambiguous to begin with.
  public init(_ grammar: Grammar) throws(GrammarError) {
    self.grammar = grammar
    classes = ByteClasses(grammar.nodes.lazy.compactMap { if case .bytes(let set) = $0 { set } else { nil } })
    frames = [Frame(node: -1, position: 0, parent: 0)]
    guard close([Place(node: Int32(grammar.root), stack: 0)]) == start else {
      throw GrammarError("the grammar is too ambiguous: its texts can begin in more than \(Self.maximumWays) ways.")
    }
  }

  public var stateCount: Int { states.count }

  /// Whether the text may end here.
  public func isAccepting(_ state: State) -> Bool { states[Int(state)].isAccepting }

  /// The state after a byte, which may be `dead`.
  @inline(__always)
  mutating func next(_ state: State, byteClass: UInt8) -> State {
    let known = transitions[Int(state) &* classes.count &+ Int(byteClass)]
    return known == Self.unknown ? follow(state, byteClass) : known
  }

  /// The state after some bytes; nil when no text of the grammar goes on like this.
  public mutating func advance(_ state: State, _ bytes: some Sequence<UInt8>) -> State? {
    var state = state
    for byte in bytes {
      state = next(state, byteClass: classes.classes[Int(byte)])
      if state == Self.dead { return nil }
    }
    return state
  }

  /// Whether the grammar has this text.
  public mutating func matches(_ text: some Sequence<UInt8>) -> Bool { advance(start, text).map(isAccepting) ?? false }

  // MARK: - Making states

  @inline(never)
  private mutating func follow(_ state: State, _ byteClass: UInt8) -> State {
    let byte = classes.representatives[Int(byteClass)]
    var work: [Place] = []
    for place in states[Int(state)].places {
      guard case .bytes(let set) = grammar.nodes[Int(place.node)], set.contains(byte) else { continue }
      work.append(Place(node: -1, stack: place.stack))
    }
    let next = work.isEmpty ? Self.dead : close(work)
    transitions[Int(state) * classes.count + Int(byteClass)] = next
    return next
  }

  /// The state of all places that are reached from these without a byte.
  private mutating func close(_ start: [Place]) -> State {
    var key = Key(places: [], isAccepting: false)
    var seen = Set(start)
    var work = Array(seen)
    while let place = work.popLast() {
      guard seen.count <= Self.maximumWays else { return Self.dead }
      func visit(_ node: Int, _ stack: Int32) {
        let next = Place(node: Int32(node), stack: stack)
        if seen.insert(next).inserted { work.append(next) }
      }
      var (node, position, stack) = (place.node, Int32(0), place.stack)
      if node < 0 {
        if stack == 0 {
          key.isAccepting = true
          continue
        }
        let frame = frames[Int(stack)]
        (node, position, stack) = (frame.node, frame.position, frame.parent)
      }
      switch grammar.nodes[Int(node)] {
      case .bytes: key.places.append(place)
      case .choice(let children): for child in children { visit(child, stack) }
      case .rule(let rule): visit(grammar.rules[rule], stack)
      case .sequence(let children):
        let index = Int(position)
        if index == children.count { visit(-1, stack) } else {
          let isLast = index + 1 == children.count
          visit(children[index], isLast ? stack : push(Frame(node: node, position: position + 1, parent: stack)))
        }
      case .repetition(let child, let minimum, let maximum):
        let count = Int(position)
        if count >= minimum { visit(-1, stack) }
        if let maximum {
          guard count < maximum else { break }
          visit(child, count + 1 == maximum ? stack : push(Frame(node: node, position: position + 1, parent: stack)))
        } else {
          visit(child, push(Frame(node: node, position: Int32(min(count + 1, minimum)), parent: stack)))
        }
      }
    }
    key.places.sort { ($0.node, $0.stack) < ($1.node, $1.stack) }
    if let known = stateNumbers[key] { return known }
    let number = State(states.count)
    states.append(key)
    stateNumbers[key] = number
    transitions += repeatElement(Self.unknown, count: classes.count)
    return number
  }

  private mutating func push(_ frame: Frame) -> Int32 {
    if let known = frameNumbers[frame] { return known }
    let number = Int32(frames.count)
    frames.append(frame)
    frameNumbers[frame] = number
    return number
  }
}
