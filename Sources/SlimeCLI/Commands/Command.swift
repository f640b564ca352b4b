import Orchestration

/// A command of `slime`: its page of help, and what it does with its flags.
struct Command: Sendable {
  var name: String
  var summary: String
  /// The whole of `--help`.
  var help: String
  /// - Throws: `ConfigurationError` for what the user wrote wrong.
  var run: @Sendable ([String]) async throws -> Void

  init<Configuration: Sendable>(
    name: String, summary: String, usage: String, notes: String = "", flags: FlagSet<Configuration>,
    configuration: Configuration, _ body: @escaping @Sendable (Configuration) async throws -> Void
  ) {
    (self.name, self.summary) = (name, summary)
    help = ["usage: " + usage, notes, flags.help(configuration)].filter { !$0.isEmpty }.joined(separator: "\n\n")
    run = { arguments in
      var configuration = configuration
      try flags.parse(arguments, into: &configuration)
      try await body(configuration)
    }
  }

  static let listed: [Command] = [.demo, .train, .plan, .inspect, .generate, .score, .serve, .router, .convert, .bench]
}
