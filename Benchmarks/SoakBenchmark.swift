import Checkpoints
import Foundation
import Inference
import JSON
import Models
import Parallelism
import Synchronization
import Torch

/// A long life of an engine: many requests of mixed length, of which some are aborted or abandoned, while it is paused,
/// flushed and given new weights.
///
/// Every request must end exactly once, for a reason that holds; no page of the KV cache may be lost; memory must stay.
public enum SoakBenchmark {
  public struct Report: Sendable, Encodable {
    public var requests = 0
    public var outputTokens = 0
    /// How requests ended: `length`, `stop`, `abort`, and those that their client left.
    public var endings: [String: Int] = [:]
    public var pauses = 0
    public var weightUpdates = 0
    public var flushes = 0
    public var retractions = 0
    public var cachedTokens = 0
    public var seconds = 0.0
    public var medianLatency = 0.0
    /// 99 of 100 requests took no longer, pauses included.
    public var latency99 = 0.0
    /// Of the process, bytes: after a fifth of the requests, and at the end.
    public var memoryBefore = 0
    public var memoryAfter = 0
  }

  /// - Throws: `BenchmarkError` about the first request or count that is wrong.
  public static func run(requests: Int = 20_000, clients: Int = 64, seed: UInt64 = 1) async throws -> Report {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-soak-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try BenchmarkModel.tiny.write(to: folder)
    // Too small for all clients at once, so that requests are retracted.
    let options = EngineOptions(
      pageSize: 4, maxTotalTokens: 1024, maxRunningRequests: 48, chunkedPrefillSize: 96,
      scheduleConservativeness: 0.2, randomSeed: Int(seed))
    let engine = try await onThread { try Engine(folder: HuggingFaceFolder(folder), tokenizer: nil, options: options) }
    let soak = Soak(engine, requests: requests, seed: seed)
    let start = ContinuousClock.now
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await soak.disturb() }
      try await withThrowingTaskGroup(of: Void.self) { clientGroup in
        for _ in 0..<clients { clientGroup.addTask { try await soak.serveClient() } }
        try await clientGroup.waitForAll()
      }
      soak.state.withLock { $0.isOver = true }
      try await group.waitForAll()
    }
    return try await soak.finish(seconds: (ContinuousClock.now - start) / .seconds(1))
  }

  public static func lines(_ report: Report) -> String {
    func milliseconds(_ seconds: Double) -> String { "\(Int((seconds * 1000).rounded())) ms" }
    let endings = report.endings.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
    return """
      \(report.requests) requests, \(report.outputTokens) output tokens in \(Int(report.seconds)) s; ended: \(endings)
      \(report.pauses) pauses, \(report.weightUpdates) weight updates, \(report.flushes) flushes, \(report.retractions) retractions, \(report.cachedTokens) cached prompt tokens
      latency: median \(milliseconds(report.medianLatency)), 99 % \(milliseconds(report.latency99))
      memory: \(report.memoryBefore >> 20) MiB after a fifth, \(report.memoryAfter >> 20) MiB at the end
      """
  }
}

/// The clients of one run and what they have seen.
private final class Soak: Sendable {
  struct State {
    var report = SoakBenchmark.Report()
    var next = 0
    var latencies: [Double] = []
    /// Times that all requests were aborted.
    var abortions = 0
    var isOver = false
  }

  let state = Mutex(State())
  private let engine: Engine
  private let requests: Int
  private let seed: UInt64
  private let stems: [[Int]]

  init(_ engine: Engine, requests: Int, seed: UInt64) {
    (self.engine, self.requests, self.seed) = (engine, requests, seed)
    var random = SplitMix64(seed: seed)
    stems = (0..<12).map { _ in (0..<Int.random(in: 0...96, using: &random)).map { _ in Int.random(in: 0..<256, using: &random) } }
  }

  // MARK: Clients

  func serveClient() async throws {
    while let number = state.withLock({ state -> Int? in
      guard state.next < requests else { return nil }
      state.next += 1
      return state.next - 1
    }) {
      var random = SplitMix64(seed: seed &+ UInt64(number) &* 0x9E37_79B9)
      try await serve(request(number, &random), &random)
      if number == requests / 5 { state.withLock { $0.report.memoryBefore = residentMemory() } }
    }
  }

  private func request(_ number: Int, _ random: inout SplitMix64) -> GenerateRequest {
    let tail = (0..<Int.random(in: 1...40, using: &random)).map { _ in Int.random(in: 0..<256, using: &random) }
    var request = GenerateRequest(id: "\(number)", tokens: stems.randomElement(using: &random)! + tail)
    request.sampling.maxNewTokens = Int.random(in: 1...(number % 10 == 0 ? 120 : 24), using: &random)
    request.sampling.stopTokenIDs = number % 2 == 0 ? [Int.random(in: 0..<256, using: &random)] : []
    request.sampling.samplingSeed = number
    (request.returnLogProbs, request.priority) = (number % 3 == 0, number % 7 == 0 ? Int.random(in: -1...1, using: &random) : nil)
    return request
  }

  /// Runs a request as one of three clients: one that waits, one that aborts, one that goes away.
  private func serve(_ request: GenerateRequest, _ random: inout SplitMix64) async throws {
    let kind = Int.random(in: 0..<100, using: &random)
    let patience = kind < 15 ? Int.random(in: 0...3, using: &random) : Int.max
    let abortions = state.withLock(\.abortions)
    let start = ContinuousClock.now
    var last: GenerateOutput?
    var (updates, endings, wasAborted) = (0, 0, false)
    if kind >= 40 {
      last = try await engine.generate(request)
      endings = 1
    } else {
      for try await output in engine.stream(request) {
        (last, updates) = (output, updates + 1)
        if output.finishReason != nil { endings += 1 }
        guard updates > patience, output.finishReason == nil else { continue }
        if kind < 5 { return state.withLock { $0.report.note("left by the client", output) } }
        if !wasAborted { await engine.abort(request.id) }
        wasAborted = true
      }
    }
    guard endings == 1, let output = last, let reason = output.finishReason else {
      throw BenchmarkError("request \(request.id) ended \(endings) times")
    }
    let mayBeAborted = wasAborted || state.withLock(\.abortions) != abortions
    try check(request, output, reason, mayBeAborted: mayBeAborted)
    state.withLock { state in
      state.report.note(reason.name, output)
      if reason.name != "abort" { state.latencies.append((ContinuousClock.now - start) / .seconds(1)) }
    }
  }

  private func check(
    _ request: GenerateRequest, _ output: GenerateOutput, _ reason: FinishReason, mayBeAborted: Bool
  ) throws {
    let holds =
      switch reason {
      case .length(let count): count == request.sampling.maxNewTokens && output.outputTokens.count == count
      case .stopToken(let token): output.outputTokens.last == token && request.sampling.stopTokenIDs.contains(token)
      case .abort: mayBeAborted
      case .stopString: false
      }
    guard holds else { throw BenchmarkError("request \(request.id) ended with \(reason), which does not hold") }
    guard output.outputTokens.dropLast().allSatisfy({ !request.sampling.stopTokenIDs.contains($0) }) else {
      throw BenchmarkError("request \(request.id) went on after a stop token")
    }
    guard !request.returnLogProbs || output.outputLogProbs.map(\.token) == output.outputTokens else {
      throw BenchmarkError("request \(request.id) has log-probabilities of other tokens than it sampled")
    }
    let spans = output.weightVersions
    guard zip(spans, spans.dropFirst()).allSatisfy({ $0.end == $1.start }),
      spans.isEmpty || (spans[0].start == 0 && spans.last!.end == output.outputTokens.count)
    else { throw BenchmarkError("request \(request.id) has weight versions \(spans) for \(output.outputTokens.count) tokens") }
  }

  // MARK: What happens to the engine

  func disturb() async throws {
    var random = SplitMix64(seed: seed &+ 77)
    while !state.withLock(\.isOver) {
      try await Task.sleep(for: .milliseconds(Int.random(in: 5...60, using: &random)))
      switch Int.random(in: 0..<4, using: &random) {
      case 0: try await pause(&random)
      case 1: try await update(&random)
      case 2:
        if await engine.flushCache() { state.withLock { $0.report.flushes += 1 } }
      default: try await engine.checkIntegrity()
      }
    }
  }

  private func pause(_ random: inout SplitMix64) async throws {
    let mode = PauseMode.allCases.randomElement(using: &random)!
    // A pause that aborts everything is rare, or little else would be seen.
    if mode == .abort, Int.random(in: 0..<4, using: &random) > 0 { return }
    if mode == .abort { state.withLock { $0.abortions += 1 } }
    try await engine.pause(mode)
    if Bool.random(using: &random) { try await update(&random) }
    if await engine.flushCache() { state.withLock { $0.report.flushes += 1 } }
    try await Task.sleep(for: .milliseconds(Int.random(in: 0...10, using: &random)))
    try await engine.resume()
    state.withLock { $0.report.pauses += 1 }
  }

  private func update(_ random: inout SplitMix64) async throws {
    let name = "model.norm.weight"
    let old = try await engine.weight(named: name)!
    let factor = Float.random(in: 0.9...1.1, using: &random)
    let values = (0..<old.shape[0]).map { _ in factor }
    try await engine.beginWeightUpdate()
    try await engine.updateWeights([
      NamedBytes(name, dtype: .float32, shape: old.shape, bytes: values.withUnsafeBytes { Data($0) })
    ])
    let version = state.withLock { state in
      state.report.weightUpdates += 1
      return state.report.weightUpdates
    }
    try await engine.endWeightUpdate(version: "\(version)")
  }

  // MARK: The end

  func finish(seconds: Double) async throws -> SoakBenchmark.Report {
    try await engine.checkIntegrity()
    let status = try await engine.status()
    guard status.runningRequests == 0, status.waitingRequests == 0, status.freePages == status.totalPages else {
      throw BenchmarkError(
        "\(status.runningRequests) requests run, \(status.waitingRequests) wait and \(status.totalPages - status.freePages) "
          + "pages are held though all clients have gone")
    }
    return state.withLock { state in
      state.latencies.sort()
      func quantile(_ share: Double) -> Double {
        state.latencies.isEmpty ? 0 : state.latencies[Int(Double(state.latencies.count - 1) * share)]
      }
      state.report.seconds = seconds
      (state.report.medianLatency, state.report.latency99) = (quantile(0.5), quantile(0.99))
      state.report.retractions = status.retractedTotal
      state.report.cachedTokens = status.cachedTokensTotal
      state.report.memoryAfter = residentMemory()
      return state.report
    }
  }
}

extension SoakBenchmark.Report {
  fileprivate mutating func note(_ ending: String, _ output: GenerateOutput) {
    requests += 1
    outputTokens += output.outputTokens.count
    endings[ending, default: 0] += 1
  }
}

extension FinishReason {
  fileprivate var name: String {
    switch self {
    case .length: "length"
    case .stopToken, .stopString: "stop"
    case .abort: "abort"
    }
  }
}

/// Bytes of this process that are in memory.
private func residentMemory() -> Int {
  let pages = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ").dropFirst().first
  return (pages.flatMap { Int($0) } ?? 0) * Int(getpagesize())
}
