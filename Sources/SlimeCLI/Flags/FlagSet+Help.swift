extension FlagSet {
  /// The sections, one line a flag: name, what it means, default.
  package func help(_ standard: Configuration) -> String {
    func label(_ flag: Flag<Configuration>) -> String {
      "  --\(flag.name)" + (flag.placeholder.isEmpty ? "" : " \(flag.placeholder)")
    }
    // A few long names stick out.
    let width = min(42, sections.flatMap { $0.flags.map { label($0).count } }.max() ?? 0)
    func lines(_ flag: Flag<Configuration>) -> [String] {
      let value = flag.help.hasSuffix("(required)") ? "" : flag.standard(standard).map { " [\($0)]" } ?? ""
      let aliases = flag.aliases.map { "  --\($0)".padded(to: width) + "  the same as --\(flag.name)" }
      return [label(flag).padded(to: width) + "  " + flag.help + value] + aliases
    }
    return sections.map { section in
      ([section.title + ":"] + section.flags.flatMap(lines)).joined(separator: "\n")
    }.joined(separator: "\n\n")
  }
}

extension String {
  func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
