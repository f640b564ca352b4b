import JSON

/// A bound of a range of numbers, exactly as its decimal digits say.
struct DecimalBound {
  var isNegative: Bool
  /// Without leading zeros; zero is `[0]`.
  var integer: [UInt8]
  /// Without trailing zeros.
  var fraction: [UInt8]
  /// Whether the bound itself is left out.
  var isStrict: Bool

  /// - Returns: nil when the value is no finite number.
  init?(_ value: JSONValue, isStrict: Bool) {
    let text: String
    switch value {
    case .int(let int): text = String(int)
    case .double(let double) where double.isFinite: text = double.description
    default: return nil
    }
    let parts = text.lowercased().split(separator: "e")
    let mantissa = parts[0].drop { $0 == "-" }.split(separator: ".", omittingEmptySubsequences: false)
    var digits = mantissa.joined().utf8.map { $0 - 0x30 }
    var point = mantissa[0].utf8.count + (parts.count > 1 ? Int(parts[1])! : 0)
    if point <= 0 {
      digits = Array(repeating: 0, count: 1 - point) + digits
      point = 1
    }
    if point > digits.count { digits += Array(repeating: 0, count: point - digits.count) }
    let significant = digits[..<point].drop { $0 == 0 }
    integer = significant.isEmpty ? [0] : Array(significant)
    fraction = Array(digits[point...])
    while fraction.last == 0 { fraction.removeLast() }
    self.isStrict = isStrict
    isNegative = text.hasPrefix("-") && (integer != [0] || !fraction.isEmpty)
  }

  static let zero = DecimalBound(.int(0), isStrict: false)!

  /// The bound of the numbers with the other sign.
  var magnitude: Self {
    var copy = self
    copy.isNegative = false
    return copy
  }
}

/// The numbers between two bounds, in decimal digits without an exponent: a digit is free once those before it differ from the
/// bound's.
struct DecimalRange {
  let builder: GrammarBuilder
  let isInteger: Bool

  func node(from low: DecimalBound?, to high: DecimalBound?) throws(GrammarError) -> Int {
    var branches: [Int] = []
    if high?.isNegative != true {
      let start = low.flatMap { $0.isNegative ? nil : $0 } ?? .zero
      branches.append(try nonnegative(from: start, to: high))
    }
    if low?.isNegative != false {
      var start = high.flatMap { $0.isNegative ? $0.magnitude : nil }
      if start == nil {
        start = .zero
        start!.isStrict = true
      }
      branches.append(try builder.sequence([builder.literal("-"), nonnegative(from: start!, to: low?.magnitude)]))
    }
    return try builder.choice(branches)
  }

  private func digits(_ range: ClosedRange<UInt8>) throws(GrammarError) -> Int {
    try builder.add(.bytes(ByteSet(0x30 + range.lowerBound...0x30 + range.upperBound)))
  }

  private func anyDigits(_ minimum: Int, _ maximum: Int?) throws(GrammarError) -> Int {
    try builder.repetition(digits(0...9), minimum, maximum)
  }

  private func nonnegative(from low: DecimalBound, to high: DecimalBound?) throws(GrammarError) -> Int {
    var branches: [Int] = []
    let most = high?.integer.count ?? low.integer.count
    for count in stride(from: low.integer.count, through: most, by: 1) {
      branches.append(
        try integer(0, count, count == low.integer.count ? low : nil, count == most ? high : nil))
    }
    if high == nil {
      branches.append(
        try builder.sequence([digits(1...9), anyDigits(low.integer.count, nil), fraction(nil, nil)]))
    }
    return try builder.choice(branches)
  }

  /// The digits before the point from `position` on, and what follows; a bound is nil once it holds whatever comes.
  private func integer(
    _ position: Int, _ count: Int, _ low: DecimalBound?, _ high: DecimalBound?
  ) throws(GrammarError) -> Int {
    if position == count { return try fraction(low, high) }
    let least: UInt8 = low?.integer[position] ?? (position == 0 && count > 1 ? 1 : 0)
    let most: UInt8 = high?.integer[position] ?? 9
    if low == nil, high == nil {
      return try builder.sequence([
        digits(least...most), anyDigits(count - position - 1, count - position - 1), fraction(nil, nil),
      ])
    }
    return try digitByDigit(least, most, low, high) { low, high throws(GrammarError) in
      try integer(position + 1, count, low, high)
    }
  }

  /// A digit between two, and what follows it: the bounds hold on where the digit equals theirs.
  private func digitByDigit(
    _ least: UInt8, _ most: UInt8, _ low: DecimalBound?, _ high: DecimalBound?,
    _ rest: (DecimalBound?, DecimalBound?) throws(GrammarError) -> Int
  ) throws(GrammarError) -> Int {
    guard least <= most else { return try builder.never() }
    if least == most { return try builder.sequence([digits(least...most), rest(low, high)]) }
    var branches: [Int] = []
    var (first, last) = (least, most)
    if low != nil {
      branches.append(try builder.sequence([digits(least...least), rest(low, nil)]))
      first += 1
    }
    if high != nil {
      branches.append(try builder.sequence([digits(most...most), rest(nil, high)]))
      last -= 1
    }
    if first <= last { branches.append(try builder.sequence([digits(first...last), rest(nil, nil)])) }
    return try builder.choice(branches)
  }

  private func fraction(_ low: DecimalBound?, _ high: DecimalBound?) throws(GrammarError) -> Int {
    let mayEnd = canEnd(0, low, high)
    if isInteger { return try mayEnd ? builder.empty() : builder.never() }
    let some = try builder.sequence([builder.literal("."), fraction(0, low, high)])
    return try mayEnd ? builder.optional(some) : some
  }

  /// Whether nothing but zeros may follow the first `position` digits after the point, which are the bounds'.
  private func canEnd(_ position: Int, _ low: DecimalBound?, _ high: DecimalBound?) -> Bool {
    let isLowEnough = high.map { $0.fraction.count > position || !$0.isStrict } ?? true
    let isHighEnough = low.map { $0.fraction.count <= position && !$0.isStrict } ?? true
    return isLowEnough && isHighEnough
  }

  /// The digits after the point from `position` on.
  private func fraction(_ position: Int, _ low: DecimalBound?, _ high: DecimalBound?) throws(GrammarError) -> Int {
    let least = position == 0 ? 1 : 0
    let low = low.flatMap { $0.fraction.count <= position && !$0.isStrict ? nil : $0 }
    if let high, high.fraction.count <= position {
      guard !high.isStrict, low == nil else { return try builder.never() }
      return try builder.repetition(digits(0...0), least, nil)
    }
    if high == nil {
      guard let low else { return try anyDigits(least, nil) }
      if low.fraction.count <= position {
        return try builder.sequence([builder.repetition(digits(0...0), 0, nil), digits(1...9), anyDigits(0, nil)])
      }
    }
    func digit(_ bound: DecimalBound) -> UInt8 { position < bound.fraction.count ? bound.fraction[position] : 0 }
    let some = try digitByDigit(low.map(digit) ?? 0, high.map(digit) ?? 9, low, high) { low, high throws(GrammarError) in
      try fraction(position + 1, low, high)
    }
    return try position > 0 && canEnd(position, low, high) ? builder.optional(some) : some
  }
}
