import Foundation
import Orchestration

/// The `slime` command. A program of one's own that has registered what it adds (`ModelProviders.register`) calls `main` too.
public enum Slime {
  /// Runs what the command line says, and ends the process.
  public static func main() async -> Never {
    var code: Int32 = 0
    do {
      try await run(Array(CommandLine.arguments.dropFirst()))
    } catch {
      complain("\(error)")
      code = (error as? any ExitCodeError)?.exitCode ?? 1
    }
    fflush(nil)
    // Not `exit`: an engine's thread may be at work still, and static destructors would pull its libraries from under it.
    _exit(code)
  }

  static func run(_ arguments: [String]) async throws {
    let rest = Array(arguments.dropFirst())
    switch arguments.first {
    case nil, "--help", "-h":
      print(overview)
    case "--version":
      print(versions)
    case "help":
      print(try rest.first.map { name throws(ConfigurationError) in try command(name).help } ?? overview)
    case let name?:
      let command = try command(name)
      if rest.contains("--help") || rest.contains("-h") { print(command.help) } else { try await command.run(rest) }
    }
  }

  private static func command(_ name: String) throws(ConfigurationError) -> Command {
    if let command = (Command.listed + [.worker]).first(where: { $0.name == name }) { return command }
    let nearest = name.nearest(in: Command.listed.map(\.name)).map { "; did you mean '\($0)'?" }
    throw ConfigurationError("there is no command '\(name)'\(nearest ?? "; slime --help lists them")")
  }

  private static var overview: String {
    let commands = Command.listed.map { "  \($0.name.padded(to: 10))\($0.summary)" }.joined(separator: "\n")
    return """
      usage: slime COMMAND [flags]

      Post-trains language models with reinforcement learning.

      \(commands)

      slime COMMAND --help   the command's flags
      slime --version        this version and the linked ones
      """
  }

  private static func complain(_ sentence: String) {
    FileHandle.standardError.write(Data("slime: \(sentence)\n".utf8))
  }
}
