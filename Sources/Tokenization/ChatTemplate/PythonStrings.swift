/// Operations of Python's `str`, which works on code points where Swift's `String` works on grapheme clusters.
extension String {
  // MARK: - Search

  /// Where `sought` occurs, in UTF-8 bytes, without overlaps. An empty string is found nowhere.
  func byteRanges(of sought: String) -> [Range<Int>] {
    let text = Array(utf8)
    let pattern = Array(sought.utf8)
    guard let first = pattern.first, pattern.count <= text.count else { return [] }
    var ranges: [Range<Int>] = []
    var i = 0
    while i <= text.count - pattern.count {
      if text[i] == first, text[i..<i + pattern.count].elementsEqual(pattern) {
        ranges.append(i..<i + pattern.count)
        i += pattern.count
      } else {
        i += 1
      }
    }
    return ranges
  }

  func firstByteOffset(of sought: String) -> Int? {
    let text = Array(utf8)
    let pattern = Array(sought.utf8)
    guard pattern.count <= text.count else { return nil }
    return (0...text.count - pattern.count).first { text[$0..<$0 + pattern.count].elementsEqual(pattern) }
  }

  func lastByteOffset(of sought: String) -> Int? {
    let text = Array(utf8)
    let pattern = Array(sought.utf8)
    guard pattern.count <= text.count else { return nil }
    return (0...text.count - pattern.count).last { text[$0..<$0 + pattern.count].elementsEqual(pattern) }
  }


  // MARK: - Splitting and joining

  /// The parts between occurrences of `separator`; a negative limit is none.
  func split(at separator: String, limit: Int, fromRight: Bool) -> [String] {
    var ranges = fromRight ? rangesFromRight(of: separator) : byteRanges(of: separator)
    if limit >= 0, ranges.count > limit { ranges = fromRight ? Array(ranges.suffix(limit)) : Array(ranges.prefix(limit)) }
    let text = Array(utf8)
    var parts: [String] = []
    var start = 0
    for range in ranges {
      parts.append(String(decoding: text[start..<range.lowerBound], as: UTF8.self))
      start = range.upperBound
    }
    parts.append(String(decoding: text[start...], as: UTF8.self))
    return parts
  }

  private func rangesFromRight(of sought: String) -> [Range<Int>] {
    let mirrored = String(scalars: unicodeScalars.reversed())
    let count = utf8.count
    return mirrored.byteRanges(of: String(scalars: sought.unicodeScalars.reversed())).reversed().map {
      count - $0.upperBound..<count - $0.lowerBound
    }
  }

  func splitAtSpaces(limit: Int, fromRight: Bool) -> [String] {
    let text = fromRight ? Array(scalars.reversed()) : scalars
    var words: [[Unicode.Scalar]] = []
    var i = 0
    while true {
      while i < text.count, text[i].isPythonSpace { i += 1 }
      guard i < text.count else { break }
      if limit >= 0, words.count == limit {
        words.append(Array(text[i...]))
        break
      }
      let start = i
      while i < text.count, !text[i].isPythonSpace { i += 1 }
      words.append(Array(text[start..<i]))
    }
    if fromRight { words = words.reversed().map { $0.reversed() } }
    return words.map { String(scalars: $0) }
  }

  func pythonLines(keepsEnds: Bool = false) -> [String] {
    let text = scalars
    var lines: [String] = []
    var start = 0
    var i = 0
    while i < text.count {
      guard text[i].isPythonLineBreak else { i += 1; continue }
      let next = text[i] == "\r" && i + 1 < text.count && text[i + 1] == "\n" ? i + 2 : i + 1
      lines.append(String(scalars: text[start..<(keepsEnds ? next : i)]))
      (start, i) = (next, next)
    }
    if start < text.count { lines.append(String(scalars: text[start...])) }
    return lines
  }

  // MARK: - Changing

  func pythonStripped(of set: Set<Unicode.Scalar>? = nil, left: Bool = true, right: Bool = true) -> String {
    func isStripped(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? scalar.isPythonSpace }
    var part = unicodeScalars[...]
    if left { part = part.drop(while: isStripped) }
    if right { while let last = part.last, isStripped(last) { part.removeLast() } }
    return String(part)
  }

  /// `str.replace`; a negative count replaces every occurrence.
  func pythonReplacing(_ old: String, with new: String, count: Int) throws -> String {
    if old.isEmpty {
      let text = scalars
      let total = count < 0 ? text.count + 1 : Swift.min(count, text.count + 1)
      try Self.check(utf8.count + total * new.utf8.count)
      var out = ""
      for i in 0...text.count {
        if i < total { out += new }
        if i < text.count { out.unicodeScalars.append(text[i]) }
      }
      return out
    }
    let parts = split(at: old, limit: count, fromRight: false)
    try Self.check(utf8.count + (parts.count - 1) * new.utf8.count)
    return parts.joined(separator: new)
  }

  fileprivate static func check(_ size: Int) throws {
    guard size <= JinjaLimits.text else { throw failure("a string would be longer than \(JinjaLimits.text) bytes.") }
  }

  func expandingTabs(_ size: Int) -> String {
    var out = ""
    var column = 0
    for scalar in unicodeScalars {
      if scalar == "\t" {
        let count = size == 0 ? 0 : size - column % size
        out += String(repeating: " ", count: count)
        column += count
      } else {
        out.unicodeScalars.append(scalar)
        column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
      }
    }
    return out
  }

  // MARK: - Case

  /// `str.lower`.
  func pythonLowercased() -> String {
    guard unicodeScalars.contains("Σ") else { return lowercased() }
    let text = scalars
    return text.indices.map { text.lowercased(at: $0) }.joined()
  }

  func pythonCapitalized() -> String {
    let text = scalars
    guard let first = text.first else { return "" }
    return first.properties.titlecaseMapping + text.indices.dropFirst().map { text.lowercased(at: $0) }.joined()
  }

  /// `str.title`: a capital after everything that is not a cased letter.
  func pythonTitled() -> String {
    let text = scalars
    return text.indices.map { i in
      i > 0 && text[i - 1].properties.isCased ? text.lowercased(at: i) : text[i].properties.titlecaseMapping
    }.joined()
  }

  var isPythonLower: Bool {
    unicodeScalars.contains { $0.properties.isLowercase }
      && !unicodeScalars.contains { $0.properties.isUppercase || $0.properties.generalCategory == .titlecaseLetter }
  }

  var isPythonUpper: Bool {
    unicodeScalars.contains { $0.properties.isUppercase }
      && !unicodeScalars.contains { $0.properties.isLowercase || $0.properties.generalCategory == .titlecaseLetter }
  }
}

extension [String] {
  func joinedWithinLimits(_ separator: String) throws -> String {
    let size = reduce(0) { $0 + $1.utf8.count } + Swift.max(0, count - 1) * separator.utf8.count
    try String.check(size)
    return joined(separator: separator)
  }
}

extension Array {
  /// Sorts as Python does: equal elements keep their order, also in reverse.
  func pythonSorted(reverse: Bool = false, by isLess: (Element, Element) throws -> Bool) throws -> [Element] {
    try enumerated().sorted { a, b in
      if try reverse ? isLess(b.element, a.element) : isLess(a.element, b.element) { return true }
      if try reverse ? isLess(a.element, b.element) : isLess(b.element, a.element) { return false }
      return a.offset < b.offset
    }.map(\.element)
  }
}

extension [Unicode.Scalar] {
  /// The small form of one letter; a sigma that ends a word has its own.
  fileprivate func lowercased(at i: Int) -> String {
    guard self[i] == "Σ" else { return self[i].properties.lowercaseMapping }
    let before = self[..<i].last { !$0.properties.isCaseIgnorable }
    let after = self[(i + 1)...].first { !$0.properties.isCaseIgnorable }
    return before?.properties.isCased == true && after?.properties.isCased != true ? "ς" : "σ"
  }
}
