import Inference
import JSON
import Serving
import Synchronization

/// An engine that follows a script: the k-th token of a response is `100 + k`, its text is `tok<k> ` or a given word.
final class FakeEngine: GenerationEngine {
  struct State {
    var requests: [String: GenerateRequest] = [:]
    var running: Set<String> = []
    /// Told to end by `abort`, or by the end of the iteration.
    var aborted: Set<String> = []
    var finished: Set<String> = []
    var mode: PauseMode?
    var generated = 0
  }
  let state = Mutex(State())
  let tokenDelay: Duration
  /// Stands still before its first token.
  let hangs: Bool

  private let words: [String]?
  private let takesImages: Bool

  init(tokenDelay: Duration = .zero, hangs: Bool = false, words: [String]? = nil, takesImages: Bool = false) {
    (self.tokenDelay, self.hangs, self.words, self.takesImages) = (tokenDelay, hangs, words, takesImages)
  }

  var snapshot: State { state.withLock { $0 } }

  func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error> {
    AsyncThrowingStream { continuation in
      // A stream that has ended before its handler is set takes that for a cancellation.
      let (handled, begin) = AsyncStream.makeStream(of: Never.self)
      let task = Task {
        for await _ in handled {}
        await self.serve(request, continuation)
      }
      continuation.onTermination = { reason in
        guard case .cancelled = reason else { return }
        self.state.withLock { _ = $0.aborted.insert(request.id) }
        task.cancel()
      }
      begin.finish()
    }
  }

  private func serve(
    _ request: GenerateRequest, _ continuation: AsyncThrowingStream<GenerateOutput, any Error>.Continuation
  ) async {
    if request.tokens == [13] { return continuation.finish(throwing: InvalidRequest("Thirteen is refused.")) }
    if request.tokens == [14] { return continuation.finish(throwing: BrokenEngine()) }
    state.withLock { state in
      state.requests[request.id] = request
      state.running.insert(request.id)
    }
    defer {
      state.withLock { state in
        state.running.remove(request.id)
        state.finished.insert(request.id)
      }
      continuation.finish()
    }
    let limit = min(request.sampling.maxNewTokens ?? .max, 2048 - request.tokens.count)
    var output = Self.opening(request)
    for k in 0...limit {
      while (hangs || snapshot.mode != nil) && !isAborted(request.id) && !Task.isCancelled {
        try? await Task.sleep(for: .milliseconds(2))
      }
      if tokenDelay > .zero { try? await Task.sleep(for: tokenDelay) }
      if isAborted(request.id) || Task.isCancelled {
        output.finishReason = .abort("Aborted")
      } else if k == limit {
        output.finishReason = .length(limit)
      } else {
        append(k, to: &output, request)
        state.withLock { $0.generated += 1 }
        if k + 1 == limit { output.finishReason = .length(limit) }
        if request.sampling.stopTokenIDs.contains(100 + k) { output.finishReason = .stopToken(100 + k) }
        if let stop = request.sampling.stop.first, stop == "tok\(k)" { output.finishReason = .stopString(stop) }
      }
      continuation.yield(output)
      if output.finishReason != nil { return }
    }
  }

  private func isAborted(_ id: String) -> Bool { state.withLock { $0.aborted.contains(id) } }

  private static func opening(_ request: GenerateRequest) -> GenerateOutput {
    var output = GenerateOutput(id: request.id)
    output.promptTokens = request.tokens.count
    output.endToEndLatency = 0.25
    guard request.returnLogProbs, let start = request.logProbStart else { return output }
    for position in start..<request.tokens.count {
      let logProb = position == 0 ? nil : Float(-1)
      output.inputLogProbs.append(TokenLogProb(token: request.tokens[position], logProb: logProb))
      output.inputTopLogProbs.append(position == 0 ? [] : top(request))
      output.inputTokenIDsLogProbs.append(position == 0 ? [] : named(request))
    }
    return output
  }

  private func append(_ k: Int, to output: inout GenerateOutput, _ request: GenerateRequest) {
    output.outputTokens.append(100 + k)
    output.text += words.map { k < $0.count ? $0[k] : "" } ?? "tok\(k) "
    guard request.returnLogProbs else { return }
    output.outputLogProbs.append(TokenLogProb(token: 100 + k, logProb: -0.5))
    output.outputTopLogProbs.append(Self.top(request))
    output.outputTokenIDsLogProbs.append(Self.named(request))
  }

  private static func top(_ request: GenerateRequest) -> [TokenLogProb] {
    (0..<request.topLogProbs).map { TokenLogProb(token: 65 + $0, logProb: -Float($0 + 1)) }
  }

  private static func named(_ request: GenerateRequest) -> [TokenLogProb] {
    request.tokenIDsLogProb.map { TokenLogProb(token: $0, logProb: -3) }
  }

  func abort(_ id: String?) async {
    state.withLock { state in
      if let id { state.aborted.insert(id) } else { state.aborted.formUnion(state.running) }
    }
  }

  func flushCache() async -> Bool { snapshot.running.isEmpty }

  func pause(_ mode: PauseMode) async throws {
    state.withLock { state in
      state.mode = mode
      if mode == .abort { state.aborted.formUnion(state.running) }
    }
  }

  func resume() async throws { state.withLock { $0.mode = nil } }

  func status() async throws -> EngineStatus {
    let state = snapshot
    var status = EngineStatus()
    (status.modelPath, status.modelType, status.architectures) = ("models/m0", "qwen3", ["Qwen3ForCausalLM"])
    (status.vocabularySize, status.contextLength, status.maxRunningRequests) = (384, 2048, 64)
    (status.pageSize, status.totalPages, status.freePages) = (16, 512, 500)
    (status.evictablePages, status.evictedTokensTotal, status.retractedTotal) = (3, 7, 2)
    status.takesImages = takesImages
    (status.runningRequests, status.generatedTokens) = (state.running.count, state.generated)
    return status
  }
}

struct BrokenEngine: Error {}

/// A token is a byte.
struct ByteEncoder: PromptEncoder {
  func encode(_ text: String) -> [Int] { text.utf8.map(Int.init) }
  /// The special token in front is 1.
  func encode(_ text: String, addSpecialTokens: Bool) -> [Int] { (addSpecialTokens ? [1] : []) + encode(text) }
  func decode(_ tokens: [Int], skipSpecialTokens: Bool) -> String { decode(skipSpecialTokens ? tokens.filter { $0 != 1 } : tokens) }
  func decode(_ tokens: [Int]) -> String { String(decoding: tokens.map { UInt8(truncatingIfNeeded: $0) }, as: UTF8.self) }

  func encode(_ conversation: Conversation) throws -> [Int] {
    var text = conversation.tools.map { "tools:\($0.count);" } ?? ""
    for message in conversation.messages {
      guard message["role"] != "robot" else { throw InvalidRequest("unknown role robot") }
      text += "\(message["role"]!.string!):\(message["content"]?.string ?? "null");"
      for call in message["tool_calls"]?.array ?? [] { text += "\(call["function"]!.text());" }
    }
    for (key, value) in conversation.variables.pairs { text += "\(key)=\(value.text());" }
    switch conversation.ending {
    case .lastMessage: break
    case .assistantHead: text += "assistant:"
    case .insideLastMessage: text += "…"
    }
    return encode(text)
  }
}
