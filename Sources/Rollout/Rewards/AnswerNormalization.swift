import Foundation

/// An answer without what does not change its meaning: spaces, `\left`, degree and percent signs, units, `k =`; fractions and
/// roots in one spelling. The rules are those of the MATH dataset's grader (Hendrycks et al., 2021).
func normalizedAnswer(_ answer: String) -> String {
  var text = withoutTextCommand(answer.trimmingCharacters(in: .whitespacesAndNewlines))
    .trimmingCharacters(in: .whitespacesAndNewlines)
  for (from, to) in [
    ("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""), ("\\right", ""),
    ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""), ("\\%", ""), (" .", " 0."), ("{.", "{0."),
  ] { text = text.replacingOccurrences(of: from, with: to) }
  // A unit stands behind the number: 5\text{ cm}.
  if let unit = text.range(of: "\\text{ ") { text = String(text[..<unit.lowerBound]) }
  if text.hasPrefix(".") { text = "0" + text }
  let sides = text.split(separator: "=", omittingEmptySubsequences: false)
  if sides.count == 2, sides[0].count <= 2 { text = String(sides[1]) }
  text = text.replacingOccurrences(of: " ", with: "")
  text = braced(braced(text, after: "\\frac", arguments: 2), after: "\\sqrt", arguments: 1)
  let parts = text.split(separator: "/", omittingEmptySubsequences: false)
  if parts.count == 2, let a = Int(parts[0]), let b = Int(parts[1]) { text = "\\frac{\(a)}{\(b)}" }
  return text
}

/// What is inside of `\text{…}`, where that is all there is.
func withoutTextCommand(_ text: String) -> String {
  text.hasPrefix("\\text{") && text.hasSuffix("}") ? String(text.dropFirst(6).dropLast()) : text
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
