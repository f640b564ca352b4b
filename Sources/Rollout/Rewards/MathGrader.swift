import Foundation

/// Whether an answer is the expected one: alike once normalised, or equal as numbers or expressions. Follows deepscaler's
/// grader: integers and fractions must be given exactly (2/4 is not 1/2), tuples and intervals element by element.
func isSameAnswer(_ answer: String, _ expected: String) -> Bool {
  let (given, wanted) = (normalizedAnswer(answer), normalizedAnswer(expected))
  if given == wanted { return true }
  guard !given.isEmpty, !wanted.isEmpty else { return false }
  let (givenParts, wantedParts) = (tupleParts(given), tupleParts(wanted))
  guard givenParts.count == wantedParts.count else { return false }
  if wantedParts.count > 1 {
    guard given.first == wanted.first, given.last == wanted.last else { return false }
  }
  return zip(givenParts, wantedParts).allSatisfy { isSameElement($0, $1) }
}

private func isSameElement(_ given: String, _ wanted: String) -> Bool {
  if given == wanted { return true }
  if isFraction(given) && isFraction(wanted) { return false }
  if isInteger(wanted) != isInteger(given) { return false }
  return isSameExpression(given, wanted)
}

/// Equal at several fixed points of all variables.
private func isSameExpression(_ a: String, _ b: String) -> Bool {
  for point in 1...4 {
    let variable = { (letter: Character) -> Double in
      0.37 + 0.61 * Double(point) + 0.173 * Double(letter.asciiValue ?? 0).truncatingRemainder(dividingBy: 7.3)
    }
    guard let left = ExpressionValue.of(a, variable: variable), let right = ExpressionValue.of(b, variable: variable),
      abs(left - right) <= 1e-9 * max(1, abs(left), abs(right))
    else { return false }
  }
  return true
}

private func tupleParts(_ text: String) -> [String] {
  guard text.count > 2, let first = text.first, let last = text.last, "([".contains(first), ")]".contains(last) else {
    return [text]
  }
  let inner = text.dropFirst().dropLast()
  guard !inner.contains(where: { "()[]".contains($0) }) else { return [text] }
  let parts = inner.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
  return parts.count > 1 ? parts : [text]
}

private func isInteger(_ text: String) -> Bool {
  guard let value = Double(text) else { return false }
  return abs(value - value.rounded()) <= 1e-7
}

private func isFraction(_ text: String) -> Bool {
  text.range(of: #"^-?\\frac\{\d+\}\{\d+\}$|^-?\d+/-?0*[1-9]\d*$"#, options: .regularExpression) != nil
}
