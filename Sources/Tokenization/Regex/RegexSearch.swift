extension RegexProgram {
  /// Calls back with every match in `text[0..<end]`, as Oniguruma's iteration finds them: an empty match directly after
  /// another match does not count.
  @inline(__always)
  func forEachMatch(in text: UnsafePointer<UInt8>, end: Int, _ stack: MatchStack, _ body: (Int, Int) -> Void) {
    var (position, lastEnd) = (0, -1)
    while position <= end, let match = firstMatch(in: text, from: position, end: end, stack) {
      if match.start == match.end, match.end == lastEnd {
        position = position < end ? position + UTF8Scalar.length(lead: text[position]) : end + 1
        continue
      }
      body(match.start, match.end)
      (position, lastEnd) = (match.end, match.end)
    }
  }

  func replacing(in text: [UInt8], with content: [UInt8], _ stack: MatchStack) -> [UInt8] {
    var result: [UInt8] = []
    var done = 0
    text.withUnsafeBufferPointer { buffer in
      guard let bytes = buffer.baseAddress else { return }
      forEachMatch(in: bytes, end: buffer.count, stack) { start, end in
        if result.isEmpty { result.reserveCapacity(buffer.count + buffer.count / 4) }
        result.append(contentsOf: buffer[done..<start])
        result.append(contentsOf: content)
        done = end
      }
    }
    if done == 0, result.isEmpty { return text }
    result.append(contentsOf: text[done...])
    return result
  }
}
