extension JinjaFilters {
  /// Filters on lists and what else can be looped over.
  static let sequences: [String: Filter] = [
    "length": { _, value, _ in .int(try value.count()) },
    "count": { _, value, _ in .int(try value.count()) },
    "list": { _, value, _ in .list(try value.items()) },
    "first": { _, value, _ in
      if case .object(let object) = value, let first = (object as? JinjaIterator)?.next() { return first }
      return try value.items().first ?? .undefined(.hint("the sequence has no first item, because it is empty."))
    },
    "last": { _, value, _ in
      if case .object(let object) = value, object is JinjaIterator { throw failure("'last' needs a list; use '|list' before it.") }
      return try value.items().last ?? .undefined(.hint("the sequence has no last item, because it is empty."))
    },
    "reverse": { _, value, _ in
      if case .string(let text) = value { return .string(String(scalars: text.unicodeScalars.reversed())) }
      return .object(JinjaIterator(try value.items().reversed()))
    },
    "join": { interpreter, value, arguments in
      let arguments = try arguments.bind("join", "d", "attribute")
      var items = try value.items()
      if let attribute = arguments[1], !attribute.isNone { items = try items.map { try pick(attribute, $0) } }
      return .string(try items.map { try $0.text() }.joinedWithinLimits(arguments[0]?.text() ?? ""))
    },
    "sort": { _, value, arguments in
      let arguments = try arguments.bind("sort", "reverse", "case_sensitive", "attribute")
      let isExact = try arguments[1]?.isTrue() ?? false
      let keyed = try value.items().map { (key: try multipleKey(arguments[2], $0, isExact), item: $0) }
      let sorted = try keyed.pythonSorted(reverse: try arguments[0]?.isTrue() ?? false) { try $0.key.isLess(than: $1.key) }
      return .list(sorted.map(\.item))
    },
    "unique": { _, value, arguments in
      let arguments = try arguments.bind("unique", "case_sensitive", "attribute")
      let isExact = try arguments[0]?.isTrue() ?? false
      var seen: Set<JinjaKey> = []
      return .object(
        JinjaIterator(try value.items().filter { seen.insert(try JinjaKey(folded(pick(arguments[1], $0), isExact))).inserted }))
    },
    "min": extreme("min") { try $0.isLess(than: $1) },
    "max": extreme("max") { try $1.isLess(than: $0) },
    "sum": { _, value, arguments in
      let arguments = try arguments.bind("sum", "attribute", "start")
      let start = arguments[1] ?? .int(0)
      if case .string = start { throw failure("'sum' adds numbers; use 'join' for strings.") }
      return try value.items().reduce(start) { try $0.apply("+", pick(arguments[0], $1)) }
    },
    "groupby": { _, value, arguments in
      let arguments = try arguments.bind("groupby", "attribute", "default", "case_sensitive", required: 1)
      let isExact = try arguments[2]?.isTrue() ?? false
      let keyed = try value.items().map { item in
        let key = try pick(arguments[0], item, standard: arguments[1])
        return (folded: folded(key, isExact), key: key, item: item)
      }.pythonSorted { try $0.folded.isLess(than: $1.folded) }
      var groups: [(folded: JinjaValue, key: JinjaValue, items: [JinjaValue])] = []
      for (folded, key, item) in keyed {
        if let last = groups.last, try last.folded.isEqual(to: folded) {
          groups[groups.count - 1].items.append(item)
        } else {
          groups.append((folded, key, [item]))
        }
      }
      return .list(groups.map { .tuple([$0.key, .list($0.items)]) })
    },
    "batch": { _, value, arguments in
      let arguments = try arguments.bind("batch", "linecount", "fill_with", required: 1)
      let size = try JinjaMethods.integer(arguments[0]!)
      guard size > 0, size <= JinjaLimits.range else { throw failure("'batch' cannot make groups of \(size).") }
      let items = try value.items()
      var groups = stride(from: 0, to: items.count, by: size).map { Array(items[$0..<min($0 + size, items.count)]) }
      if let fill = arguments[1], !fill.isNone, let last = groups.last {
        groups[groups.count - 1] += Array(repeating: fill, count: size - last.count)
      }
      return .object(JinjaIterator(groups.map { .list($0) }))
    },
    "slice": { _, value, arguments in
      let arguments = try arguments.bind("slice", "slices", "fill_with", required: 1)
      let count = try JinjaMethods.integer(arguments[0]!)
      guard count > 0, count <= JinjaLimits.range else { throw failure("'slice' cannot make \(count) groups.") }
      let items = try value.items()
      var start = 0
      return .object(
        JinjaIterator(
          (0..<count).map { i in
            let hasExtra = i < items.count % count
            let end = start + items.count / count + (hasExtra ? 1 : 0)
            defer { start = end }
            let fill = arguments[1].flatMap { $0.isNone || hasExtra ? nil : [$0] } ?? []
            return .list(Array(items[start..<end]) + fill)
          }))
    },
    "map": map,
    "select": choose("select", byAttribute: false, keeps: true),
    "reject": choose("reject", byAttribute: false, keeps: false),
    "selectattr": choose("selectattr", byAttribute: true, keeps: true),
    "rejectattr": choose("rejectattr", byAttribute: true, keeps: false),
  ]

  // MARK: - Attributes

  /// What a dotted path (`"function.name"`, `0`) leads to; the value itself without a path.
  private static func pick(_ path: JinjaValue?, _ value: JinjaValue, standard: JinjaValue? = nil) throws -> JinjaValue {
    guard let path, !path.isNone else { return value }
    var steps = [path]
    if case .string(let text) = path {
      steps = text.split(at: ".", limit: -1, fromRight: false).map { part in
        part.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(part).map { .int($0) } ?? .string(part) : .string(part)
      }
    }
    var result = value
    for step in steps {
      result = try result.item(step)
      if result.isUndefined, let standard, !standard.isNone { result = standard }
    }
    return result
  }

  /// The key of `sort`, whose attribute may be several with commas between them.
  private static func multipleKey(_ path: JinjaValue?, _ value: JinjaValue, _ isExact: Bool) throws -> JinjaValue {
    guard case .string(let text)? = path else { return .list([folded(try pick(path, value), isExact)]) }
    return .list(try text.split(at: ",", limit: -1, fromRight: false).map { folded(try pick(.string($0), value), isExact) })
  }

  private static func extreme(
    _ name: String, _ isBetter: @escaping @Sendable (JinjaValue, JinjaValue) throws -> Bool
  ) -> Filter {
    { _, value, arguments in
      let arguments = try arguments.bind(name, "case_sensitive", "attribute")
      let isExact = try arguments[0]?.isTrue() ?? false
      var best: (key: JinjaValue, item: JinjaValue)?
      for item in try value.items() {
        let key = folded(try pick(arguments[1], item), isExact)
        if let current = best, !(try isBetter(key, current.key)) { continue }
        best = (key, item)
      }
      return best?.item ?? .undefined(.hint("an empty sequence has no '\(name)'."))
    }
  }

  // MARK: - Map and select

  private static let map: Filter = { interpreter, value, arguments in
    guard try value.isTrue() else { return .object(JinjaIterator([])) }
    if arguments.positional.isEmpty, arguments.keyword.contains(where: { $0.name == "attribute" }) {
      let arguments = try arguments.bind("map", "attribute", "default")
      return .object(JinjaIterator(try value.items().map { try pick(arguments[0], $0, standard: arguments[1]) }))
    }
    guard let first = arguments.positional.first else { throw failure("'map' needs the name of a filter or an attribute.") }
    let name = try JinjaMethods.text(first)
    let rest = JinjaArguments(positional: Array(arguments.positional.dropFirst()), keyword: arguments.keyword)
    return .object(
      JinjaIterator(
        try value.items().map { item in
          try interpreter.step()
          return try interpreter.apply(filter: name, item, rest)
        }))
  }

  private static func choose(_ name: String, byAttribute: Bool, keeps: Bool) -> Filter {
    { interpreter, value, arguments in
      guard try value.isTrue() else { return .object(JinjaIterator([])) }
      var rest = arguments.positional[...]
      var attribute: JinjaValue?
      if byAttribute {
        guard let first = rest.popFirst() else { throw failure("'\(name)' needs the name of an attribute.") }
        attribute = first
      }
      var test: (JinjaValue) throws -> Bool = { try $0.isTrue() }
      if let first = rest.popFirst() {
        let testName = try JinjaMethods.text(first)
        guard let found = JinjaTests.table[testName] else { throw failure("there is no test '\(testName)'.") }
        let bound = JinjaArguments(positional: Array(rest), keyword: arguments.keyword)
        test = { try found($0, bound) }
      }
      return .object(
        JinjaIterator(
          try value.items().filter { item in
            try interpreter.step()
            return try test(pick(attribute, item)) == keeps
          }))
    }
  }
}
