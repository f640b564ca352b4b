/// The contents of the last `\boxed{…}` or `\fbox{…}` of a text, braces balanced; `\boxed 5` counts as well.
func lastBoxedAnswer(in text: String) -> String? {
  let bytes = Array(text.utf8)
  for head in ["\\boxed", "\\fbox"] {
    let pattern = Array(head.utf8)
    guard bytes.count > pattern.count,
      let start = (0...bytes.count - pattern.count).last(where: { bytes[$0..<$0 + pattern.count].elementsEqual(pattern) })
    else { continue }
    var index = start + pattern.count
    if index < bytes.count, bytes[index] == UInt8(ascii: " ") {
      return String(decoding: bytes[(index + 1)...].prefix { $0 != UInt8(ascii: "$") }, as: UTF8.self)
    }
    var depth = 0
    let first = index + 1
    while index < bytes.count {
      if bytes[index] == UInt8(ascii: "{") { depth += 1 }
      if bytes[index] == UInt8(ascii: "}") {
        depth -= 1
        if depth == 0 { return String(decoding: bytes[first..<index], as: UTF8.self) }
      }
      if depth == 0 { break }
      index += 1
    }
  }
  return nil
}
