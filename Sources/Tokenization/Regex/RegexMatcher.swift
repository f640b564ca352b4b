/// The states a match can return to. One belongs to one thread; it is reused from match to match.
final class MatchStack {
  struct Frame {
    var instruction: Int32
    var position: Int
    /// A greedy repetition: how far it can give back. A lazy one: how often it may still go on.
    var limit: Int
    /// A branch: the targets not yet tried.
    var remaining: UInt64
  }

  private(set) var frames: UnsafeMutablePointer<Frame>
  private var capacity = 64
  var count = 0

  init() { frames = .allocate(capacity: capacity) }
  deinit { frames.deallocate() }

  @inline(__always)
  func push(_ frame: Frame) {
    if count == capacity { grow() }
    frames[count] = frame
    count &+= 1
  }

  private func grow() {
    let larger = UnsafeMutablePointer<Frame>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: frames, count: count)
    frames.deallocate()
    frames = larger
    capacity *= 2
  }
}

extension RegexProgram {
  /// The first match that starts at `position` or later, in a text of `end` bytes.
  func firstMatch(in text: UnsafePointer<UInt8>, from position: Int, end: Int, _ stack: MatchStack) -> (start: Int, end: Int)? {
    var start = position
    while start <= end {
      if let firstBytes {
        while start < end, !firstBytes.contains(text[start]) { start += 1 }
        if start == end { return nil }
      }
      let stop = match(text, at: start, end: end, stack)
      if stop >= 0 { return (start, stop) }
      if start == end { return nil }
      start += UTF8Scalar.length(lead: text[start])
    }
    return nil
  }

  /// Where the match that starts at `position` ends, or -1.
  @inline(__always)
  func match(_ text: UnsafePointer<UInt8>, at position: Int, end: Int, _ stack: MatchStack) -> Int {
    run(start, text, position, end, stack)
  }

  private func run(_ first: Int32, _ text: UnsafePointer<UInt8>, _ position: Int, _ end: Int, _ stack: MatchStack) -> Int {
    let base = stack.count
    let (instructions, dispatch, targets, sets) = (self.instructions, self.dispatch, self.targets, self.sets)
    var (pc, position) = (Int(first), position)
    while true {
      let instruction = instructions + pc
      var isMatching = true
      switch instruction.pointee.operation {
      case .accept:
        stack.count = base
        return position

      case .branch:
        let byte = position < end ? Int(text[position]) : 256
        let open = dispatch[Int(instruction.pointee.inner) &+ byte]
        isMatching = open != 0
        if isMatching {
          let rest = open & (open &- 1)
          if rest != 0 { stack.push(.init(instruction: Int32(truncatingIfNeeded: pc), position: position, limit: 0, remaining: rest)) }
          pc = Int(targets[Int(instruction.pointee.targets) &+ open.trailingZeroBitCount])
        }

      case .set:
        let length = position < end ? sets.length(ofMember: text, position, set: Int(instruction.pointee.set)) : 0
        isMatching = length > 0
        position &+= length
        pc = Int(instruction.pointee.next)

      case .repeatSet:
        let set = Int(instruction.pointee.set)
        let (minimum, maximum) = (Int(instruction.pointee.minimum), Int(instruction.pointee.maximum))
        let most = instruction.pointee.greed == .lazy ? minimum : maximum
        var (count, low) = (0, position)
        while count < most, position < end {
          let length = sets.length(ofMember: text, position, set: set)
          if length == 0 { break }
          position &+= length
          count &+= 1
          if count == minimum { low = position }
        }
        isMatching = count >= minimum
        if isMatching {
          switch instruction.pointee.greed {
          case .possessive: break
          case .greedy:
            if position > low { stack.push(.init(instruction: Int32(truncatingIfNeeded: pc), position: position, limit: low, remaining: 0)) }
          case .lazy:
            if maximum > minimum {
              stack.push(.init(instruction: Int32(truncatingIfNeeded: pc), position: position, limit: maximum &- minimum, remaining: 0))
            }
          }
          pc = Int(instruction.pointee.next)
        }

      case .lookaheadSet:
        let isMember = position < end && sets.length(ofMember: text, position, set: Int(instruction.pointee.set)) > 0
        isMatching = isMember != instruction.pointee.isNegative
        pc = Int(instruction.pointee.next)

      case .lookahead:
        let found = run(instruction.pointee.inner, text, position, end, stack) >= 0
        isMatching = found != instruction.pointee.isNegative
        pc = Int(instruction.pointee.next)

      case .lookbehind:
        let isMember = position > 0
          && sets.length(ofMember: text, UTF8Scalar.start(text, before: position), set: Int(instruction.pointee.set)) > 0
        isMatching = isMember != instruction.pointee.isNegative
        pc = Int(instruction.pointee.next)

      case .atomic:
        let stop = run(instruction.pointee.inner, text, position, end, stack)
        isMatching = stop >= 0
        position = stop
        pc = Int(instruction.pointee.next)

      case .anchor:
        isMatching = holds(instruction.pointee.anchor, text, position, end)
        pc = Int(instruction.pointee.next)
      }
      if isMatching { continue }
      var hasResumed = false
      while stack.count > base, !hasResumed { hasResumed = resume(stack, text, end, &pc, &position) }
      if !hasResumed { return -1 }
    }
  }

  /// Goes back to the latest state; false when that has no way left to try.
  private func resume(
    _ stack: MatchStack, _ text: UnsafePointer<UInt8>, _ end: Int, _ pc: inout Int, _ position: inout Int
  ) -> Bool {
    let frame = stack.frames + (stack.count &- 1)
    let instruction = instructions + Int(frame.pointee.instruction)
    position = frame.pointee.position
    guard instruction.pointee.operation == .repeatSet else {
      let open = frame.pointee.remaining
      frame.pointee.remaining = open & (open &- 1)
      if frame.pointee.remaining == 0 { stack.count &-= 1 }
      pc = Int(targets[Int(instruction.pointee.targets) &+ open.trailingZeroBitCount])
      return true
    }
    pc = Int(instruction.pointee.next)
    if instruction.pointee.greed == .greedy {
      position = UTF8Scalar.start(text, before: position)
      frame.pointee.position = position
      if position == frame.pointee.limit { stack.count &-= 1 }
      return true
    }
    let length = position < end ? sets.length(ofMember: text, position, set: Int(instruction.pointee.set)) : 0
    position += length
    frame.pointee.position = position
    frame.pointee.limit -= 1
    if length == 0 || frame.pointee.limit == 0 { stack.count &-= 1 }
    return length > 0
  }

  private func holds(_ anchor: RegexNode.Anchor, _ text: UnsafePointer<UInt8>, _ position: Int, _ end: Int) -> Bool {
    switch anchor {
    case .textStart: return position == 0
    case .textEnd: return position == end
    case .textEndOrLastNewline: return position == end || position == end - 1 && text[position] == 0x0A
    case .lineStart: return position == 0 || position < end && text[position - 1] == 0x0A
    case .lineEnd: return position == end || text[position] == 0x0A
    case .wordBoundary, .noWordBoundary:
      let before = position > 0 && sets.length(ofMember: text, UTF8Scalar.start(text, before: position), set: wordSet) > 0
      let after = position < end && sets.length(ofMember: text, position, set: wordSet) > 0
      return (before != after) == (anchor == .wordBoundary)
    }
  }
}
