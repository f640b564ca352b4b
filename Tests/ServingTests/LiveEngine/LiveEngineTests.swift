import Checkpoints
import Foundation
import Inference
import JSON
import Serving
import TestSupport
import Testing
import Tokenization

/// The whole server on a real engine, with clients that misbehave.
@Suite(.serialized) struct LiveEngineTests {
  /// 64 clients at once on real sockets: some stay to the end and must get what they would get alone, the others leave in
  /// the middle, are aborted, or send what is no request. Afterwards no page of the KV cache is held, no socket is open, and
  /// the same answers come.
  @Test(arguments: [(seed: 1, isTight: false), (2, true), (3, false), (4, true)])
  func nothingLeaksWhateverClientsDo(seed: UInt64, isTight: Bool) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try writeTinyModel(to: folder, seed: seed)
    // With few pages requests wait, and lose theirs to others; with many a request that nobody ends goes on for hours.
    let capacity = isTight ? 1536 : 1 << 20
    let tokenizer = try Tokenizer(folder: folder)
    let engine = try await onThread {
      try Engine(
        folder: HuggingFaceFolder(folder), tokenizer: tokenizer,
        options: EngineOptions(
          pageSize: isTight ? 4 : 16, maxTotalTokens: capacity, maxRunningRequests: 24, chunkedPrefillSize: 64,
          contextLength: capacity))
    }
    var visits = Visits(seed: seed, longest: capacity - 64)
    for prompt in Visits.prompts { visits.expected.append(try await engine.generate(Visits.request(prompt)).outputTokens) }
    let server = Server(
      engine: engine, tokenizer: try ModelPromptEncoder(tokenizer), configuration: ServerConfiguration(port: 0))
    try await server.whileRunning { [visits] port in
      let socketsBefore = try openSockets()
      let problems = try await withThrowingTaskGroup(of: String?.self) { group in
        for index in 0..<64 {
          group.addTask {
            do {
              return try await onThread { try visits.visit(index, port) }
            } catch { return "client \(index): \(error)" }
          }
        }
        return try await group.reduce(into: [String]()) { if let problem = $1 { $0.append(problem) } }
      }
      #expect(problems.isEmpty)

      try await eventually("no request runs and every page is free") {
        let status = try await engine.status()
        return status.runningRequests == 0 && status.waitingRequests == 0 && status.freePages == status.totalPages
      }
      try await engine.checkIntegrity()
      let (load, health) = try await onThread {
        let client = try SocketClient(port: port)
        client.send("GET /v1/loads HTTP/1.1\r\nHost: x\r\n\r\n")
        let load = try client.answer().flatMap { try JSONValue(parsing: $0.text)["loads"]?.array?.first }
        client.send("GET /health_generate HTTP/1.1\r\nHost: x\r\n\r\n")
        return (load, try client.answer()?.status)
      }
      #expect(load?["num_used_tokens"] == 0 && load?["num_running_reqs"] == 0 && load?["num_waiting_reqs"] == 0)
      #expect(health == 200)
      for index in visits.expected.indices {
        #expect(try await onThread { try visits.stay(index, port, streams: index % 2 == 0, name: "after-\(index)") } == nil)
      }
      try await eventually("every socket is closed") { try openSockets() <= socketsBefore }
    }
  }
}

private func openSockets() throws -> Int {
  let files = FileManager.default
  return try files.contentsOfDirectory(atPath: "/proc/self/fd").count {
    (try? files.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)"))?.hasPrefix("socket:") ?? false
  }
}
