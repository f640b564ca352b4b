/// A compiled regular expression over UTF-8: instructions for a backtracking matcher.
///
/// Alternatives are chosen by the next byte, and repetitions of one set of scalars run as a single instruction, which
/// gives nothing back where what follows could not use it. Matches are those of Oniguruma: leftmost, alternatives in order.
final class RegexProgram: @unchecked Sendable {
  enum Operation: UInt8 {
    case accept, set, repeatSet, branch, lookaheadSet, lookahead, lookbehind, atomic, anchor
  }

  struct Instruction {
    var operation: Operation
    var greed = RegexNode.Greed.greedy
    var anchor = RegexNode.Anchor.textStart
    var isNegative = false
    /// The set's number.
    var set: Int32 = 0
    var minimum: Int32 = 0
    var maximum: Int32 = .max
    var next: Int32 = 0
    /// The inner program of a group; for a branch, where its byte table and its targets begin.
    var inner: Int32 = 0
    var targets: Int32 = 0
  }

  let instructions: UnsafeMutablePointer<Instruction>
  /// For each branch 257 words: which targets can lead to a match given the next byte (256: the text ends).
  let dispatch: UnsafeMutablePointer<UInt64>
  let targets: UnsafeMutablePointer<Int32>
  let sets: ScalarTable
  let start: Int32
  let wordSet: Int
  /// The bytes with which a match can begin; nil when it can be empty.
  let firstBytes: ByteSet?

  convenience init(_ pattern: String) throws(RegexError) {
    try self.init(RegexParser.parse(pattern), pattern: pattern)
  }

  init(_ node: RegexNode, pattern: String = "") throws(RegexError) {
    var compiler = RegexCompiler(pattern: pattern)
    let accept = compiler.emit(Instruction(operation: .accept))
    start = try compiler.compile(node, next: accept, follow: .accept)
    wordSet = Int(compiler.number(of: UnicodeProperties.word))
    instructions = .allocate(capacity: compiler.instructions.count)
    instructions.initialize(from: compiler.instructions, count: compiler.instructions.count)
    dispatch = .allocate(capacity: max(compiler.dispatch.count, 1))
    dispatch.initialize(from: compiler.dispatch, count: compiler.dispatch.count)
    targets = .allocate(capacity: max(compiler.targets.count, 1))
    targets.initialize(from: compiler.targets, count: compiler.targets.count)
    sets = ScalarTable(compiler.sets)
    firstBytes = node.isNullable ? nil : node.first.leadBytes
  }

  deinit {
    instructions.deallocate()
    dispatch.deallocate()
    targets.deallocate()
  }

  /// A program that matches one scalar of the set.
  static func scalar(of set: ScalarSet) -> RegexProgram {
    do { return try RegexProgram(.set(set)) } catch { preconditionFailure("one set always compiles: \(error)") }
  }

  /// A program that matches this text.
  static func literal(_ text: String) -> RegexProgram {
    let sets = text.unicodeScalars.map { RegexNode.set(ScalarSet($0)) }
    do { return try RegexProgram(.sequence(sets)) } catch { preconditionFailure("a literal always compiles: \(error)") }
  }
}
