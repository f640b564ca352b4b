import Foundation

/// An answer without what does not change its meaning: spaces, `\left`, degree and percent signs, units, `k =`; fractions and
/// roots in one spelling. The rules are those of the MATH dataset's grader (Hendrycks et al., 2021).
func normalizedAnswer(_ answer: String) -> String {
  var text = answer.trimmingCharacters(in: .whitespacesAndNewlines)
  if text.hasPrefix("\\text{"), text.hasSuffix("}") { text = String(text.dropFirst(6).dropLast()) }
  for (from, to) in [
    ("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""), ("\\right", ""),
    ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""), ("$", ""), ("\\%", ""), ("%", ""), ("\\,", ""), ("\\;", ""),
    ("\\cdot", "*"), ("\\times", "*"), ("\\pi", "pi"), (" .", " 0."), ("{.", "{0."),
  ] { text = text.replacingOccurrences(of: from, with: to) }
  // A unit stands behind the number: 5\text{ cm}.
  if let unit = text.range(of: "\\text{ ") { text = String(text[..<unit.lowerBound]) }
  if text.hasPrefix(".") { text = "0" + text }
  let sides = text.split(separator: "=", omittingEmptySubsequences: false)
  if sides.count == 2, sides[0].trimmingCharacters(in: .whitespaces).count <= 2 { text = String(sides[1]) }
  text = text.replacingOccurrences(of: " ", with: "")
  text = withoutThousandsCommas(braced(braced(text, after: "\\frac", arguments: 2), after: "\\sqrt", arguments: 1))
  let parts = text.split(separator: "/", omittingEmptySubsequences: false)
  if parts.count == 2, let a = Int(parts[0]), let b = Int(parts[1]) { text = "\\frac{\(a)}{\(b)}" }
  return text
}

/// `\frac12` as `\frac{1}{2}`: single characters get the braces that they may be written without.
private func braced(_ text: String, after command: String, arguments: Int) -> String {
  var result = ""
  var rest = Substring(text)
  while let place = rest.range(of: command) {
    result += rest[..<place.upperBound]
    rest = rest[place.upperBound...]
    for _ in 0..<arguments {
      guard let next = rest.first, next != "{", next != "[" else { break }
      result += "{\(next)}"
      rest = rest.dropFirst()
    }
  }
  return result + rest
}

/// `1,234,567` as `1234567`; the commas of `(1,2)` stay.
private func withoutThousandsCommas(_ text: String) -> String {
  let groups = text.split(separator: ",", omittingEmptySubsequences: false)
  guard groups.count > 1, let first = groups.first, (1...3).contains(first.drop { $0 == "-" }.count),
    groups.dropFirst().allSatisfy({ $0.prefix(3).count == 3 && $0.prefix(3).allSatisfy(\.isNumber) }),
    groups.dropFirst().dropLast().allSatisfy({ $0.count == 3 }), first.allSatisfy({ $0.isNumber || $0 == "-" })
  else { return text }
  return groups.joined()
}
