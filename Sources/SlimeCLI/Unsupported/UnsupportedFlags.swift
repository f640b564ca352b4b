import Orchestration

/// Flags of slime, Megatron-LM and SGLang that are known but do nothing here.
///
/// One that asks for what happens anyway (`--tensor-model-parallel-size 1`) is accepted. Any other is refused with what to
/// do instead: nothing on a command line is ignored.
package struct UnsupportedFlags: Sendable {
  var groups: [UnsupportedGroup]
  /// Every flag whose name begins like this belongs to the group, listed or not.
  var prefixes: [(prefix: String, group: UnsupportedGroup)] = []

  package var names: [String] { groups.flatMap { $0.flags.map(\.name) } }

  /// - Parameter supported: a name that is a typing mistake away from one of these is not taken for an unlisted flag.
  func flag(named name: String, unlessNear supported: [String]) -> UnsupportedFlag? {
    for group in groups {
      if let flag = group.flags.first(where: { $0.name == name }) { return group.complete(flag) }
    }
    guard let group = prefixes.first(where: { name.hasPrefix($0.prefix) })?.group,
      !supported.contains(where: { name.distance(to: $0) <= 2 })
    else { return nil }
    return group.complete(UnsupportedFlag(name))
  }
}

/// Flags that are missing for one reason.
struct UnsupportedGroup: Sendable {
  /// Whose flags they are.
  var owner: String
  /// What does not support them.
  var by: String
  /// What to do instead.
  var remedy: String
  var flags: [UnsupportedFlag]

  init(_ owner: String, by: String = "slime train", _ remedy: String, _ flags: [UnsupportedFlag]) {
    (self.owner, self.by, self.remedy, self.flags) = (owner, by, remedy, flags)
  }

  func complete(_ flag: UnsupportedFlag) -> UnsupportedFlag {
    var flag = flag
    flag.reason = "is not supported yet by \(by) (a flag of \(owner)); \(remedy)"
    return flag
  }
}

struct UnsupportedFlag: Sendable, ExpressibleByStringLiteral {
  var name: String
  /// Values that ask for what happens anyway.
  var neutral: [String] = []
  /// Written without a value, it asks for what happens anyway.
  var isNeutralSwitch = false
  var reason = ""

  init(_ name: String) { self.name = name }
  init(stringLiteral name: String) { self.name = name }

  /// Accepted with one of these values.
  static func accept(_ name: String, _ values: String...) -> Self {
    var flag = Self(name)
    flag.neutral = values
    return flag
  }

  /// Accepted as the switch that it is.
  static func accept(switch name: String) -> Self {
    var flag = Self(name)
    flag.isNeutralSwitch = true
    return flag
  }

  func accept(_ values: [String]) throws(ConfigurationError) {
    if values.isEmpty ? isNeutralSwitch : values.allSatisfy(isNeutral) { return }
    throw ConfigurationError("--\(([name] + values).joined(separator: " ")) \(reason)")
  }

  private func isNeutral(_ value: String) -> Bool {
    neutral.contains { $0 == value || (Double($0) != nil && Double($0) == Double(value)) }
  }
}
