import Orchestration

/// All flags of a command, in the sections of its `--help`.
package struct FlagSet<Configuration: Sendable>: Sendable {
  struct Section: Sendable {
    var title: String
    var flags: [Flag<Configuration>]
  }

  var sections: [Section]
  /// What a word without dashes sets, if the command takes one.
  var positional: Flag<Configuration>?
  /// Flags of slime, Megatron and SGLang that this command knows, but takes only where they ask for what happens anyway.
  var unsupported: UnsupportedFlags?
  /// Where the architecture flags go, if the command takes any.
  var architecture: (WritableKeyPath<Configuration, [ArchitectureClaim]> & Sendable)?

  init(
    _ sections: [(String, [Flag<Configuration>])], positional: Flag<Configuration>? = nil,
    unsupported: UnsupportedFlags? = nil,
    architecture: (WritableKeyPath<Configuration, [ArchitectureClaim]> & Sendable)? = nil
  ) {
    self.sections = sections.map { Section(title: $0.0, flags: $0.1) }
    (self.positional, self.unsupported, self.architecture) = (positional, unsupported, architecture)
  }

  package var names: [String] { sections.flatMap { $0.flags.flatMap { [$0.name] + $0.aliases } } }

  /// Reads a command line into `configuration`. As in Python's argparse, the last of a flag given twice counts.
  package func parse(_ arguments: [String], into configuration: inout Configuration) throws(ConfigurationError) {
    let flags = Dictionary(
      uniqueKeysWithValues: sections.flatMap { $0.flags.flatMap { flag in ([flag.name] + flag.aliases).map { ($0, flag) } } })
    let switches = Set(ArchitectureFlag.all.filter(\.isSwitch).map(\.name))
    let architectureNames = architecture == nil ? [] : Set(ArchitectureFlag.all.map(\.name))
    var words = Words(arguments)
    while let word = words.next() {
      guard let name = word.name else {
        guard let positional else { throw ConfigurationError("'\(word.text)' belongs to no flag") }
        try positional.set(&configuration, [word.text])
        continue
      }
      if let flag = flags[name] {
        try flag.set(&configuration, words.values(flag.values, of: word))
      } else if let architecture, architectureNames.contains(name) {
        let values = try words.values(switches.contains(name) ? .none : .one, of: word)
        configuration[keyPath: architecture].append(ArchitectureClaim(flag: name, value: values.first))
      } else if let unsupported = unsupported?.flag(named: name, unlessNear: Array(flags.keys)) {
        try unsupported.accept(words.rest(of: word))
      } else {
        throw unknown(name, known: flags.keys.sorted() + architectureNames.sorted() + (unsupported?.names ?? []))
      }
    }
  }

  private func unknown(_ name: String, known: [String]) -> ConfigurationError {
    let nearest = name.nearest(in: known).map { "; did you mean --\($0)?" } ?? ""
    return ConfigurationError("there is no flag --\(name)\(nearest)")
  }
}

/// A command line, word by word.
private struct Words {
  struct Word {
    var text: String
    /// `lr` of `--lr` and of `--lr=1`.
    var name: String?
    /// `1` of `--lr=1`.
    var attached: String?
  }

  private var rest: ArraySlice<String>

  init(_ arguments: [String]) { rest = arguments[...] }

  mutating func next() -> Word? {
    guard let text = rest.popFirst() else { return nil }
    guard text.hasPrefix("--"), text.count > 2 else { return Word(text: text) }
    let parts = text.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    return Word(text: text, name: String(parts[0]), attached: parts.count > 1 ? String(parts[1]) : nil)
  }

  /// Everything up to the next flag. `-1` is a value.
  mutating func rest(of word: Word) -> [String] {
    if let attached = word.attached { return [attached] }
    var values: [String] = []
    while let next = rest.first, !next.hasPrefix("--") { values.append(next); rest.removeFirst() }
    return values
  }

  mutating func values(_ arity: FlagArity, of word: Word) throws(ConfigurationError) -> [String] {
    switch arity {
    case .none:
      guard let value = word.attached else { return [] }
      throw ConfigurationError("--\(word.name!) is a switch and takes no value; leave out '=\(value)'")
    case .one:
      if let value = word.attached { return [value] }
      // Text may well begin with a dash, but what looks like a flag is one: its value was forgotten.
      guard let value = rest.first, !value.hasPrefix("--") else { throw ConfigurationError("--\(word.name!) needs a value") }
      rest.removeFirst()
      return [value]
    case .many:
      let values = rest(of: word)
      guard !values.isEmpty else { throw ConfigurationError("--\(word.name!) needs at least one value") }
      return values
    }
  }
}
