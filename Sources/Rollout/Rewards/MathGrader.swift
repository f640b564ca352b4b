import Foundation

/// Whether an answer is the expected one, the way of deepscaler's grader, which slime's `math` uses as well: alike once
/// normalised, or equal as numbers or expressions. Integers must be given as integers and fractions in lowest terms (2/4 is
/// not 1/2); tuples and intervals count element by element.
func isSameAnswer(_ answer: String, _ expected: String) -> Bool {
  guard max(answer.utf8.count, expected.utf8.count) <= longestAnswer else { return answer == expected }
  if normalizedAnswer(answer) == normalizedAnswer(expected) { return true }
  let (given, wanted) = (plainAnswer(answer), plainAnswer(expected))
  if given == wanted { return true }
  guard !given.isEmpty, !wanted.isEmpty else { return false }
  let (givenParts, wantedParts) = (tupleParts(given), tupleParts(wanted))
  guard givenParts.count == wantedParts.count else { return false }
  if wantedParts.count > 1 {
    guard given.first == wanted.first, given.last == wanted.last else { return false }
  }
  return zip(givenParts, wantedParts).allSatisfy { isSameElement($0, $1) }
}

/// Bytes of an answer that is read; a model that writes more has not answered.
private let longestAnswer = 2000

private func isSameElement(_ given: String, _ wanted: String) -> Bool {
  if isFraction(given) && isFraction(wanted) { return given == wanted }
  if (wholeNumber(given) == nil) != (wholeNumber(wanted) == nil) { return false }
  return isSameExpression(given, wanted)
}

/// Equal at several fixed points of all variables, off the real axis, so that √x² is not x.
///
/// Words are no expressions: there may be two different letters. Powers of more than one digit, and of sums, are not computed.
private func isSameExpression(_ a: String, _ b: String) -> Bool {
  let both = a + "-" + b
  var letters = both
  for name in ["sqrt", "root", "frac"] { letters = letters.replacingOccurrences(of: name, with: "") }
  guard Set(letters.filter(\.isLetter)).count <= 2, !both.contains("^("),
    both.range(of: #"\^[0-9]+\^|\^[0-9][0-9]"#, options: .regularExpression) == nil
  else { return false }
  for point in 1...4 {
    let variable = { (letter: Character) -> ComplexNumber in
      let code = Double(letter.unicodeScalars.first!.value)
      return ComplexNumber(
        (1.37 * Double(point) + 0.173 * code).truncatingRemainder(dividingBy: 2.3) - 1.1,
        (0.71 * Double(point) + 0.317 * code).truncatingRemainder(dividingBy: 1.9) - 0.9)
    }
    guard let left = ExpressionValue.of(a, variable: variable), let right = ExpressionValue.of(b, variable: variable),
      (left - right).magnitude <= 1e-13 * max(left.magnitude, right.magnitude)
    else { return false }
  }
  return true
}

/// The elements of a tuple or an interval; a text that is neither is its only element.
private func tupleParts(_ text: String) -> [String] {
  let text = withoutThousandsCommas(text)
  guard text.count > 2, let first = text.first, let last = text.last, "([".contains(first), ")]".contains(last) else {
    return [text]
  }
  var parts = [""]
  var depth = 0
  for character in text.dropFirst().dropLast() {
    if "([".contains(character) { depth += 1 }
    if ")]".contains(character) { depth -= 1 }
    // The brackets at the ends are not each other's: (1,2)u(3,4).
    if depth < 0 { return [text] }
    if character == ",", depth == 0 { parts.append("") } else { parts[parts.count - 1].append(character) }
  }
  return parts.count > 1 && depth == 0 ? parts : [text]
}

private func isFraction(_ text: String) -> Bool {
  text.range(of: #"^-?\d+/-?0*[1-9]\d*$"#, options: .regularExpression) != nil
}
