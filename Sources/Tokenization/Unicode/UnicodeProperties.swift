/// Sets of scalars by property name, equal to those of Python's `tokenizers`.
enum UnicodeProperties {
  static let whitespace = named("White_Space")!
  static let word = named("word")!
  static let decimalDigit = named("Nd")!
  /// `char::is_numeric`, Unicode's punctuation, `\w` and combining marks as the package's Rust libraries have them.
  static let rustNumeric = named("rust:numeric")!
  static let rustPunctuation = named("rust:punctuation")!
  static let rustWord = named("rust:word")!
  static let rustMark = named("rust:mark")!

  /// The set of a general category (`Lu`, `L`, `Uppercase_Letter`), a script (`Han`) or another property
  /// (`Alphabetic`); case, spaces, hyphens and underscores do not matter.
  static func named(_ name: String) -> ScalarSet? {
    let key = normalized(name)
    if key == "any" { return .all }
    if key == "assigned" { return categories["cn"]!.inverted }
    if let set = categories[key] ?? sets[key] { return set }
    guard let short = longNames[key] else { return nil }
    return named(short)
  }

  /// The scalars that case-insensitive matching takes for one of `set`.
  static func caseClosure(of set: ScalarSet) -> ScalarSet {
    var closure = set
    for members in caseClasses where members.contains(where: set.contains) { closure = closure.union(ScalarSet(members)) }
    return closure
  }

  private static func normalized(_ name: String) -> String {
    name.lowercased().filter { $0 != " " && $0 != "-" && $0 != "_" }
  }

  private static let categoryNames = [
    "Cn", "Co", "Cs", "Lo", "So", "Mn", "Lu", "Ll", "Lt", "Lm", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi",
    "Pf", "Po", "Sm", "Sc", "Sk", "Zs", "Zl", "Zp", "Cc", "Cf",
  ]

  private static let longNames = [
    "other": "C", "letter": "L", "mark": "M", "combiningmark": "M", "number": "N", "punctuation": "P", "punct": "P",
    "symbol": "S", "separator": "Z", "unassigned": "Cn", "privateuse": "Co", "surrogate": "Cs", "otherletter": "Lo",
    "othersymbol": "So", "nonspacingmark": "Mn", "uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt",
    "modifierletter": "Lm", "spacingmark": "Mc", "enclosingmark": "Me", "decimalnumber": "Nd", "digit": "Nd",
    "letternumber": "Nl", "othernumber": "No", "connectorpunctuation": "Pc", "dashpunctuation": "Pd",
    "openpunctuation": "Ps", "closepunctuation": "Pe", "initialpunctuation": "Pi", "finalpunctuation": "Pf",
    "otherpunctuation": "Po", "mathsymbol": "Sm", "currencysymbol": "Sc", "modifiersymbol": "Sk", "spaceseparator": "Zs",
    "lineseparator": "Zl", "paragraphseparator": "Zp", "control": "Cc", "cntrl": "Cc", "format": "Cf", "space": "White_Space",
    "alpha": "Alphabetic", "upper": "Uppercase", "lower": "Lowercase",
  ]

  private static let categories: [String: ScalarSet] = {
    var ranges: [[ClosedRange<UInt32>]] = Array(repeating: [], count: categoryNames.count)
    var reader = UnicodeTables.Reader(UnicodeTables.categories)
    var start: UInt32 = 0
    while !reader.isAtEnd {
      let category = reader.digit()
      let end = start + UInt32(reader.number())
      ranges[category].append(start...(end - 1))
      start = end
    }
    var sets: [String: ScalarSet] = [:]
    for (name, ranges) in zip(categoryNames, ranges) {
      sets[name.lowercased()] = ScalarSet(ranges)
      sets[name.prefix(1).lowercased()] = ScalarSet((sets[name.prefix(1).lowercased()]?.ranges ?? []) + ranges)
    }
    sets["lc"] = sets["lu"]!.union(sets["ll"]!).union(sets["lt"]!)
    return sets
  }()

  private static let sets: [String: ScalarSet] = {
    let text = UnicodeTables.sets.withUTF8Buffer { Array($0) }
    var sets: [String: ScalarSet] = [:]
    for line in text.split(separator: UInt8(ascii: "\n")) {
      let fields = line.split(separator: UInt8(ascii: " "))
      func ranges(_ field: Int) -> ScalarSet {
        if fields[field].elementsEqual("-".utf8) { return ScalarSet() }
        var reader = UnicodeTables.Reader(fields[field])
        return reader.ranges()
      }
      let base = fields[1].split(separator: UInt8(ascii: "+"))
        .flatMap { categories[String(decoding: $0, as: UTF8.self).lowercased()]?.ranges ?? [] }
      sets[normalized(String(decoding: fields[0], as: UTF8.self))] =
        ScalarSet(base).union(ranges(2)).subtracting(ranges(3))
    }
    return sets
  }()

  private static let caseClasses: [[UInt32]] = {
    var reader = UnicodeTables.Reader(UnicodeTables.caseClasses)
    var (classes, first): ([[UInt32]], Int) = ([], 0)
    while !reader.isAtEnd {
      let count = reader.number()
      first += reader.number()
      var members = [first]
      while members.count < count { members.append(members[members.count - 1] + reader.number()) }
      classes.append(members.map { UInt32($0) })
    }
    return classes
  }()
}
