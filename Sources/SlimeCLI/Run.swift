import Orchestration

/// Where each command goes on once its configuration is known to be good.
enum Run {
  static func train(_ configuration: TrainConfiguration) async throws { throw notConnected("train") }
  static func score(_ configuration: ScoreConfiguration) async throws { throw notConnected("score") }
  static func serve(_ configuration: ServeConfiguration) async throws { throw notConnected("serve") }
  static func generate(_ configuration: GenerateConfiguration) async throws { throw notConnected("generate") }
  @Sendable static func demo(_ configuration: DemoConfiguration) async throws { throw notConnected("demo") }
  @Sendable static func bench(_ configuration: BenchConfiguration) async throws { throw notConnected("bench") }
  @Sendable static func worker(_ configuration: WorkerConfiguration) async throws { throw notConnected("worker") }

  private static func notConnected(_ command: String) -> ConfigurationError {
    ConfigurationError("'\(command)' is not part of this build")
  }
}
