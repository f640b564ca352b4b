import Inference
import Synchronization

/// An engine that answers as a closure says, and counts what runs.
final class ScriptedEngine: GenerationEngine {
  enum Answer {
    case tokens([Int], FinishReason)
    /// Nothing more comes until the request is aborted.
    case hang(after: [Int])
  }
  struct State {
    var waiting: [String: AsyncThrowingStream<GenerateOutput, any Error>.Continuation] = [:]
    var partial: [String: [Int]] = [:]
    var requests: [GenerateRequest] = []
    var running = 0
    var mostRunning = 0
    var weightVersion = "1"
  }

  let state = Mutex(State())
  let answer: @Sendable (GenerateRequest) async throws -> Answer

  init(_ answer: @escaping @Sendable (GenerateRequest) async throws -> Answer) { self.answer = answer }

  static func output(_ id: String, _ tokens: [Int], _ reason: FinishReason, version: String) -> GenerateOutput {
    var output = GenerateOutput(id: id)
    (output.outputTokens, output.finishReason, output.weightVersion) = (tokens, reason, version)
    output.outputLogProbs = tokens.map { TokenLogProb(token: $0, logProb: -Float($0) / 100) }
    output.text = tokens.map { "t\($0)" }.joined()
    output.promptTokens = 4
    output.cachedTokens = 1
    return output
  }

  func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error> {
    let (stream, continuation) = AsyncThrowingStream.makeStream(of: GenerateOutput.self)
    state.withLock { state in
      state.requests.append(request)
      state.running += 1
      state.mostRunning = max(state.mostRunning, state.running)
    }
    Task {
      do {
        switch try await answer(request) {
        case .tokens(let tokens, let reason):
          let version = state.withLock { state in
            state.running -= 1
            return state.weightVersion
          }
          continuation.yield(Self.output(request.id, tokens, reason, version: version))
          continuation.finish()
        case .hang(let tokens):
          state.withLock { ($0.waiting[request.id], $0.partial[request.id]) = (continuation, tokens) }
        }
      } catch {
        state.withLock { $0.running -= 1 }
        continuation.finish(throwing: error)
      }
    }
    return stream
  }

  func abort(_ id: String?) async {
    state.withLock { state in
      for (request, continuation) in state.waiting where id == nil || id == request {
        let output = Self.output(request, state.partial[request]!, .abort("asked"), version: state.weightVersion)
        continuation.yield(output)
        continuation.finish()
        state.running -= 1
        state.waiting[request] = nil
      }
    }
  }

  func flushCache() async -> Bool { true }
  func status() async throws -> EngineStatus { EngineStatus() }
  func pause(_ mode: PauseMode) async throws {}
  func resume() async throws {}
}
