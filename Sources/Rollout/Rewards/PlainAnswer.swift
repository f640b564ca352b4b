import Foundation

/// An answer as a plain formula, the way of deepscaler's grader: without units, currencies and percent signs, LaTeX read,
/// words in lower case, whole numbers in one spelling (`1,234.0` is `1234`), mixed numbers as sums (`3\frac12` is `3+1/2`).
func plainAnswer(_ answer: String) -> String {
  var text = withoutTextCommand(answer)
  for (from, to) in [
    ("\\%", ""), ("%", ""), ("\\$", ""), ("$", ""), (" or ", " , "), (" and ", " , "), ("trillion", "*10^12"),
    ("billion", "*10^9"), ("million", "*10^6"),
  ] { text = text.replacingOccurrences(of: from, with: to) }
  text = replacing(#"(?:degree|cm|centimeter|meter|mile|second|minute|hour|day|week|month|year|foot|feet|inch|yard)(?:es)?s? *(?:\^[0-9]+)?"#, in: text, with: "")
  text = replacing(#"\^ *\\circ"#, in: text, with: "")
  if text.hasPrefix("{"), text.hasSuffix("}"), text.count > 1 { text = String(text.dropFirst().dropLast()) }
  text = replacing(#",\\! *"#, in: text, with: "")
  text = LaTeXReader.plainText(text).trimmingCharacters(in: .whitespacesAndNewlines)
  text = replacing("- *", in: text, with: "-")
  text = replacing("-([0-9]+) +([0-9]+/[0-9]+)", in: text, with: "-($1+$2)")
  text = replacing("([0-9]) +(?=[0-9])", in: text, with: "$1+")
  for mark in [" ", "{", "}"] { text = text.replacingOccurrences(of: mark, with: "") }
  text = text.lowercased()
  return wholeNumber(text) ?? text
}

/// A whole number without commas and decimals; nil for anything else. As whole counts what is within 1e-7 of it.
func wholeNumber(_ text: String) -> String? {
  guard let value = Double(withoutThousandsCommas(text)), value.magnitude < 1e15, abs(value - value.rounded()) <= 1e-7 else {
    return isDigits(text) ? text : nil
  }
  return String(Int(value.rounded()))
}

/// `1,234,567` as `1234567`; the commas of `1,2` stay.
func withoutThousandsCommas(_ text: String) -> String {
  var text = text
  while true {
    let shorter = replacing(#"(\d),(\d\d\d)(?!\d)"#, in: text, with: "$1$2")
    if shorter == text { return text }
    text = shorter
  }
}

private func isDigits(_ text: String) -> Bool {
  let digits = text.drop { $0 == "-" }
  return text.count - digits.count <= 1 && !digits.isEmpty && digits.allSatisfy { $0.isASCII && $0.isNumber }
}

private func replacing(_ pattern: String, in text: String, with template: String) -> String {
  text.replacingOccurrences(of: pattern, with: template, options: .regularExpression)
}
