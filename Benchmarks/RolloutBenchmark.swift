import Checkpoints
import Foundation
import Inference
import JSON
import Models
import Torch

/// How fast an engine generates, beside `transformers` on the same weights and prompts in the same run.
public enum RolloutBenchmark {
  public struct Work: Sendable {
    /// nil: a model of 104 million parameters with random weights, in fp32.
    public var checkpoint: URL?
    public var requests = 64
    /// Tokens of each prompt and each response; ranges: drawn evenly.
    public var inputTokens = 64...64
    public var outputTokens = 128...128
    public var device = Device.cpu
    public var dtype: DType?
    /// Whether linear weights are kept as e4m3.
    public var isFloat8 = false
    public var isDeterministic = false
    /// An interpreter with torch and transformers; nil: nothing to compare with.
    public var python: URL?

    public init() {}
  }

  public struct Row: Sendable, Encodable {
    public var name: String
    public var requests: Int
    public var inputTokens: Int
    public var outputTokens: Int
    /// From the first request sent to the last answered, prompts included.
    public var seconds: Double
    /// Until the engine could be asked, its load included.
    public var startSeconds: Double

    public var outputTokensPerSecond: Double { Double(outputTokens) / seconds }

    private enum CodingKeys: String, CodingKey {
      case name, requests, inputTokens = "input_tokens", outputTokens = "output_tokens", seconds
      case startSeconds = "start_seconds"
    }
  }

  /// - Throws: `BenchmarkError` when the other side fails; what is wrong with the folder.
  public static func run(_ work: Work) async throws -> [Row] {
    let folder = work.checkpoint ?? FileManager.default.temporaryDirectory.appendingPathComponent("slime-rollout-" + UUID().uuidString)
    defer { if work.checkpoint == nil { try? FileManager.default.removeItem(at: folder) } }
    if work.checkpoint == nil { try BenchmarkModel.small.write(to: folder) }
    var random = SplitMix64(seed: 1)
    let vocabulary = try ModelRegistry.configuration(of: HuggingFaceFolder(folder)).vocabularySize
    let requests = (0..<work.requests).map { number in
      var request = GenerateRequest(
        id: "\(number)",
        tokens: (0..<Int.random(in: work.inputTokens, using: &random)).map { _ in Int.random(in: 0..<vocabulary, using: &random) })
      request.sampling.maxNewTokens = Int.random(in: work.outputTokens, using: &random)
      (request.sampling.ignoreEOS, request.sampling.samplingSeed, request.returnLogProbs) = (true, number, true)
      return request
    }
    var rows = [try await engine(folder, requests, work)]
    if let python = work.python { rows.append(try transformers(folder, requests, work, python)) }
    return rows
  }

  private static func engine(_ folder: URL, _ requests: [GenerateRequest], _ work: Work) async throws -> Row {
    let start = ContinuousClock.now
    var options = EngineOptions(
      dtype: work.dtype, device: work.device, memoryFraction: work.device.kind == .cuda ? 0.85 : nil,
      cacheBytes: 4 << 30, maxRunningRequests: work.requests, chunkedPrefillSize: work.device.kind == .cuda ? 16_384 : 2048)
    (options.quantization, options.isDeterministic) = (work.isFloat8 ? .fp8 : nil, work.isDeterministic)
    let engine = try await onThread { [options] in try Engine(folder: HuggingFaceFolder(folder), tokenizer: nil, options: options) }
    let loaded = ContinuousClock.now
    // Kernels and libraries are made ready by requests that do not count, of as many tokens as two batches hold.
    var room = 2 * options.chunkedPrefillSize
    let first = requests.prefix {
      room -= $0.tokens.count
      return room >= 0
    }
    try await generate(engine, requests.prefix(max(4, first.count)).map {
      var request = $0
      request.sampling.maxNewTokens = 4
      return request
    })
    _ = await engine.flushCache()
    let begin = ContinuousClock.now
    let outputTokens = try await generate(engine, requests)
    let end = ContinuousClock.now
    engine.shutDown()
    return Row(
      name: "slime", requests: requests.count, inputTokens: requests.reduce(0) { $0 + $1.tokens.count },
      outputTokens: outputTokens, seconds: (end - begin) / .seconds(1), startSeconds: (loaded - start) / .seconds(1))
  }

  /// - Returns: how many tokens came.
  @discardableResult
  private static func generate(_ engine: Engine, _ requests: [GenerateRequest]) async throws -> Int {
    try await withThrowingTaskGroup(of: Int.self) { group in
      for request in requests { group.addTask { try await engine.generate(request).outputTokens.count } }
      return try await group.reduce(0, +)
    }
  }

  private static func transformers(
    _ folder: URL, _ requests: [GenerateRequest], _ work: Work, _ python: URL
  ) throws -> Row {
    let input = FileManager.default.temporaryDirectory.appendingPathComponent("slime-requests-\(UUID().uuidString).json")
    defer { try? FileManager.default.removeItem(at: input) }
    let list = requests.map { request -> JSONValue in
      ["tokens": .array(request.tokens.map { .int($0) }), "max_new_tokens": .int(request.sampling.maxNewTokens!)]
    }
    try JSONValue.array(list).data().write(to: input)
    let data = try PythonScript.output(
      python, "transformers_rollout.py",
      [folder.path, input.path, work.device.kind == .cuda ? "cuda" : "cpu", work.dtype?.name ?? "auto"])
    return try JSONDecoder().decode(Answer.self, from: data).row(requests)
  }

  private struct Answer: Decodable {
    var seconds: Double
    var output_tokens: Int
    var start_seconds: Double

    func row(_ requests: [GenerateRequest]) -> Row {
      Row(
        name: "transformers", requests: requests.count, inputTokens: requests.reduce(0) { $0 + $1.tokens.count },
        outputTokens: output_tokens, seconds: seconds, startSeconds: start_seconds)
    }
  }

  public static func table(_ rows: [Row]) -> String {
    let lines = rows.map { row in
      "\(row.name): \(row.outputTokens) tokens from \(row.requests) requests with \(row.inputTokens) prompt tokens in "
        + "\(number(row.seconds)) s, \(number(row.outputTokensPerSecond)) tokens/s; ready after \(number(row.startSeconds)) s"
    }
    guard rows.count == 2 else { return lines.joined(separator: "\n") }
    let ratio = rows[0].outputTokensPerSecond / rows[1].outputTokensPerSecond
    return (lines + ["\(number(ratio)) times as many tokens a second"]).joined(separator: "\n")
  }

  private static func number(_ value: Double) -> String { String(format: value < 100 ? "%.2f" : "%.0f", value) }
}
