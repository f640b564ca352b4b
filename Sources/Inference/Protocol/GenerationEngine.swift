/// What a rollout, an HTTP server or a command needs of an engine, wherever it runs.
public protocol GenerationEngine: Sendable {
  /// Cumulative updates of one request; the last has a `finishReason`. Ending the iteration early aborts the request.
  /// - Throws: `InvalidRequest` before the first update when the request cannot be served.
  func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error>

  /// The finished output of one request.
  func generate(_ request: GenerateRequest) async throws -> GenerateOutput

  /// Aborts the request with this id (all requests when nil); each ends with `FinishReason.abort` and its partial output.
  func abort(_ id: String?) async

  /// Forgets all cached prefixes. False when requests are running.
  func flushCache() async -> Bool

  func status() async throws -> EngineStatus

  /// Of each engine where this is several that share requests; otherwise its own.
  func rankStatuses() async throws -> [EngineStatus]

  /// Stops sampling, in one of three ways, until `resume`. Requests that arrive meanwhile wait.
  func pause(_ mode: PauseMode) async throws

  func resume() async throws
}

/// What becomes of the running requests of an engine that pauses. Names and behaviour are SGLang's.
public enum PauseMode: String, Sendable, Equatable, Codable, CaseIterable {
  /// They end with `FinishReason.abort` and their partial output, and so do waiting ones.
  case abort
  /// They give their KV back and wait; it is computed again, with the weights of then, on `resume`.
  case retract
  /// They keep their KV and go on where they stand on `resume`.
  case inPlace = "in_place"
}

extension GenerationEngine {
  public func rankStatuses() async throws -> [EngineStatus] { [try await status()] }

  public func pause(_ mode: PauseMode) async throws { throw InvalidRequest("This engine cannot pause.") }
  public func resume() async throws { throw InvalidRequest("This engine cannot pause, so there is nothing to resume.") }

  /// The last output of `stream`.
  public func generate(_ request: GenerateRequest) async throws -> GenerateOutput {
    var last: GenerateOutput?
    for try await output in stream(request) { last = output }
    guard let last, last.finishReason != nil else { throw CancellationError() }
    return last
  }
}

extension AsyncThrowingStream where Element: Sendable, Failure == any Error {
  /// What a task yields; it is cancelled when the iteration ends early.
  public static func ofTask(_ body: @escaping @Sendable (Continuation) async throws -> Void) -> Self {
    AsyncThrowingStream { continuation in
      let task = Task {
        do {
          try await body(continuation)
          continuation.finish()
        } catch {
          continuation.finish(throwing: error)
        }
      }
      continuation.onTermination = { if case .cancelled = $0 { task.cancel() } }
    }
  }
}

/// A request that cannot be served, in one sentence for its sender (HTTP 400).
public struct InvalidRequest: Error, Equatable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}

public struct EngineStatus: Sendable, Equatable, Codable {
  public var modelPath = ""
  public var modelType = ""
  public var architectures: [String] = []
  public var weightVersion = "default"
  public var vocabularySize = 0
  public var contextLength = 0
  public var maxRunningRequests = 0
  public var runningRequests = 0
  public var waitingRequests = 0
  public var pageSize = 0
  public var totalPages = 0
  /// Pages not held by any request, those of cached prefixes included.
  public var freePages = 0
  /// How many of `freePages` hold a cached prefix.
  public var evictablePages = 0
  public var generatedTokens = 0
  /// Of all requests that ran: tokens of their prompts, and how many of them were taken from the cache.
  public var promptTokensTotal = 0
  public var cachedTokensTotal = 0
  public var evictedTokensTotal = 0
  public var retractedTotal = 0
  /// What became of all drafts; nil: the engine makes none.
  public var speculation: SpeculationCounts?
  /// Those that requests may name; nil: the engine takes none.
  public var adapters: [AdapterDescription]?
  /// Whether requests may have pictures.
  public var takesImages = false

  public init() {}
}
