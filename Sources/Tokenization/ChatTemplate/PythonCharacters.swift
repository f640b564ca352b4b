/// Character classes as Python's `str` methods and `re` see them.
extension Unicode.Scalar {
  /// `str.isspace`, which is also `\s`.
  var isPythonSpace: Bool {
    switch value {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
    default: false
    }
  }

  /// The characters at which `str.splitlines` cuts.
  var isPythonLineBreak: Bool {
    switch value {
    case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
    default: false
    }
  }

  var isDecimalDigit: Bool { (0x30...0x39).contains(value) }

  /// `\w`: part of a name.
  var isIdentifierPart: Bool {
    if value < 0x80 { return isDecimalDigit || self == "_" || (0x41...0x5A).contains(value & ~0x20) }
    return properties.isXIDContinue
  }

  func digit(base: Int) -> Int? {
    guard isASCII, let digit = Character(self).hexDigitValue, digit < base else { return nil }
    return digit
  }

  var isPythonAlpha: Bool {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: false
    }
  }

  /// `str.isprintable`, which decides what `repr` escapes.
  var isPythonPrintable: Bool {
    switch properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
    case .spaceSeparator: self == " "
    default: true
    }
  }
}
