import Checkpoints
import Foundation
import JSON
import Models
import Observability
import Tokenization
import Training

/// `slime score`: log-probabilities and entropies of given tokens, computed by trainer ranks as training computes them.
public enum Scoring {
  /// Lines scored in one call.
  private static let linesPerCall = 1024

  public static func run(_ configuration: ScoreConfiguration, console: Console = .standard) async throws {
    let folder = try HuggingFaceFolder(URL(fileURLWithPath: configuration.hfCheckpoint))
    try configuration.backend.check(
      ModelRegistry.configuration(of: folder, provider: configuration.modelProvider),
      worldSize: configuration.cluster.trainerRanks)
    let lines = try read(configuration)
    let count = configuration.cluster.trainerRanks
    let supervisor = Supervisor(controlPlane: ControlPlane())
    supervisor.endOnTerminationSignals()
    do {
      let threads = max(1, ProcessInfo.processInfo.activeProcessorCount / count)
      try await supervisor.start(
        (0..<count).map {
          WorkerSpecification(ProcessName(WorkerRole.trainer, $0), environment: ["OMP_NUM_THREADS": "\(threads)"])
        })
      let trainers = TrainerGroup(try supervisor.resolveAll(TrainerActor.self, role: WorkerRole.trainer))
      try await trainers.start(
        try setup(configuration, threads: threads), role: .actor, withRef: false, withOPDTeacher: false,
        devices: (0..<count).map { configuration.backend.device == .cuda ? .cuda($0) : .cpu })
      let output = FileManager.default.createFile(atPath: configuration.output, contents: nil)
        ? FileHandle(forWritingAtPath: configuration.output) : nil
      guard let output else { throw ConfigurationError("--output \(configuration.output) cannot be written") }
      let progress = ProgressBar("lines", total: lines.count, console: console)
      for start in stride(from: 0, to: lines.count, by: linesPerCall) {
        let part = Array(lines[start..<min(start + linesPerCall, lines.count)])
        let scores = try await trainers.score(part, tokensPerPack: configuration.backend.maxTokensPerGPU ?? 4096)
        try output.write(contentsOf: text(part, scores))
        progress.update(start + part.count)
      }
      try output.close()
      progress.finish()
    } catch {
      let cause = await supervisor.cause(of: error)
      _ = await supervisor.shutDown()
      throw cause
    }
    _ = await supervisor.shutDown()
  }

  private static func setup(_ configuration: ScoreConfiguration, threads: Int) throws -> TrainerSetup {
    var options = try TrainingOptions(
      schedule: LearningRateSchedule(peak: 0, decaySteps: 1), globalBatchSize: 1, batching: .fixed(microBatchSize: 1))
    options.modelProvider = configuration.modelProvider
    options.computeType = configuration.backend.resolvedDType.tensorType
    options.attention = configuration.backend.resolvedAttention
    options.isDeterministic = configuration.backend.isDeterministic
    options.megatron = configuration.backend.parallel.megatronOptions
    options.sequenceFormat = configuration.backend.parallel.sequenceFormat
    var setup = TrainerSetup(
      folder: configuration.hfCheckpoint, backend: configuration.backend.trainBackend,
      layout: try configuration.backend.layout(worldSize: configuration.cluster.trainerRanks), options: options)
    (setup.threadCount, setup.timeoutSeconds) = (threads, configuration.cluster.distributedTimeoutMinutes * 60)
    return setup
  }

  /// Each line's tokens; a text is tokenised with the special tokens that the tokenizer puts around it.
  private static func read(_ configuration: ScoreConfiguration) throws -> [[Int32]] {
    let data = try Data(contentsOf: URL(fileURLWithPath: configuration.input))
    var tokenizer: Tokenizer?
    var result: [[Int32]] = []
    for (number, line) in data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
      if line.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") }) { continue }
      let place = "\(configuration.input) line \(number + 1)"
      let value: JSONValue
      do { value = try JSONValue(parsing: Data(line)) } catch { throw ConfigurationError("\(place): \(error)") }
      if let tokens = value["tokens"]?.array {
        let ids = tokens.compactMap { $0.int.flatMap { Int32(exactly: $0) } }
        guard ids.count == tokens.count else { throw ConfigurationError("\(place): \"tokens\" must hold whole numbers") }
        result.append(ids)
      } else if let text = value["text"]?.string {
        if tokenizer == nil { tokenizer = try Tokenizer(folder: URL(fileURLWithPath: configuration.hfCheckpoint)) }
        result.append(tokenizer!.encode(text).map { Int32($0) })
      } else {
        throw ConfigurationError("\(place): a line needs \"tokens\" (an array of ids) or \"text\" (a string)")
      }
    }
    return result
  }

  private static func text(_ lines: [[Int32]], _ scores: [ScoredSequence]) -> Data {
    var bytes: [UInt8] = []
    for (tokens, score) in zip(lines, scores) {
      let object: JSONValue = [
        "tokens": .array(tokens.map { .int(Int($0)) }), "log_probs": .array(score.logProbs.map(number)),
        "entropy": .array(score.entropy.map(number)),
      ]
      object.write(.compact, level: 0, into: &bytes)
      bytes.append(UInt8(ascii: "\n"))
    }
    return Data(bytes)
  }

  /// The shortest text that reads back to the same fp32.
  private static func number(_ value: Float) -> JSONValue { .double(Double(value.description) ?? Double(value)) }
}
