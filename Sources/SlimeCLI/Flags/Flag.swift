import Orchestration

/// How many values follow a flag.
enum FlagArity: Sendable {
  case none, one, many
}

/// One flag: how it is written, what it sets in a `Configuration`, and what `--help` says of it.
package struct Flag<Configuration>: Sendable {
  package var name: String
  /// Other ways to write it.
  var aliases: [String] = []
  var values: FlagArity
  /// What stands for the value in `--help`.
  var placeholder: String
  var help: String
  /// The default, as `--help` shows it.
  var standard: @Sendable (Configuration) -> String?
  /// Sets the values that were written.
  var set: @Sendable (inout Configuration, [String]) throws(ConfigurationError) -> Void

  func also(_ names: String...) -> Self {
    var flag = self
    flag.aliases = names
    return flag
  }

  /// The same flag of a configuration that this one is a part of.
  func lifted<Whole>(_ part: WritableKeyPath<Whole, Configuration> & Sendable) -> Flag<Whole> {
    Flag<Whole>(
      name: name, aliases: aliases, values: values, placeholder: placeholder, help: help,
      standard: { standard($0[keyPath: part]) },
      set: { (whole, words) throws(ConfigurationError) in try set(&whole[keyPath: part], words) })
  }
}

extension Flag {
  /// A flag with one value.
  static func option<Value: FlagValue>(
    _ name: String, _ path: WritableKeyPath<Configuration, Value> & Sendable, _ placeholder: String, _ help: String
  ) -> Self {
    Flag(
      name: name, values: .one, placeholder: placeholder, help: help + Value.choices,
      standard: { $0[keyPath: path].flagText },
      set: { (configuration, words) throws(ConfigurationError) in
        configuration[keyPath: path] = try value(Value.self, words[0], name)
      })
  }

  static func option<Value: FlagValue>(
    _ name: String, _ path: WritableKeyPath<Configuration, Value> & Sendable, _ help: String
  ) -> Self {
    option(name, path, Value.placeholder, help)
  }

  /// A flag with one or more values; given again, it replaces them.
  static func list<Value: FlagValue>(
    _ name: String, _ path: WritableKeyPath<Configuration, [Value]> & Sendable, _ placeholder: String, _ help: String
  ) -> Self {
    Flag(
      name: name, values: .many, placeholder: placeholder + "…", help: help, standard: { _ in nil },
      set: { (configuration, words) throws(ConfigurationError) in
        var list: [Value] = []
        for word in words { list.append(try value(Value.self, word, name)) }
        configuration[keyPath: path] = list
      })
  }

  /// A flag without a value.
  static func toggle(
    _ name: String, _ path: WritableKeyPath<Configuration, Bool> & Sendable, sets: Bool = true, _ help: String
  ) -> Self {
    Flag(
      name: name, values: .none, placeholder: "", help: help, standard: { _ in nil },
      set: { (configuration, _) in configuration[keyPath: path] = sets })
  }

  /// A flag without a value that decides what is otherwise decided for the user, in one place or several.
  static func decision(
    _ name: String, _ paths: [WritableKeyPath<Configuration, Bool?> & Sendable], sets: Bool, _ help: String
  ) -> Self {
    Flag(
      name: name, values: .none, placeholder: "", help: help, standard: { _ in nil },
      set: { (configuration, _) throws(ConfigurationError) in
        for path in paths {
          guard configuration[keyPath: path] != !sets else {
            throw ConfigurationError("--\(name) contradicts a flag before it; leave one of them out")
          }
          configuration[keyPath: path] = sets
        }
      })
  }

  /// A flag without a value that stands for `option value`, and contradicts any other value of it.
  static func shorthand<Value: FlagValue & Equatable>(
    _ name: String, for option: String, _ path: WritableKeyPath<Configuration, Value?> & Sendable, _ value: Value
  ) -> Self {
    Flag(
      name: name, values: .none, placeholder: "", help: "the same as --\(option) \(value.flagText!)", standard: { _ in nil },
      set: { (configuration, _) throws(ConfigurationError) in
        if let other = configuration[keyPath: path], other != value {
          throw ConfigurationError("--\(name) contradicts --\(option) \(other.flagText!); give one of them")
        }
        configuration[keyPath: path] = value
      })
  }

  private static func value<Value: FlagValue>(
    _ type: Value.Type, _ word: String, _ name: String
  ) throws(ConfigurationError) -> Value {
    if let value = Value(flag: word) { return value }
    throw ConfigurationError("--\(name) takes \(Value.expectation), not '\(word)'")
  }
}
