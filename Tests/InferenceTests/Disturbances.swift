import Inference
import Testing

/// Requests of an engine that is paused in both ways, flushed, let go of its memory and given it back, and told to abort
/// some of them: each says what it should, or the beginning of that.
func expectUndisturbed(_ engine: Engine, _ requests: [GenerateRequest], _ wanted: [GenerateOutput]) async throws {
  try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask {
      for i in 0..<8 {
        while try await engine.status().runningRequests == 0 { await Task.yield() }
        try await engine.pause(i % 2 == 0 ? .inPlace : .retract)
        if i % 2 == 1 {
          #expect(await engine.flushCache())
          try await engine.releaseMemory([.keyValueCache, .weights])
          try await engine.resumeMemory([.keyValueCache, .weights])
        }
        try await engine.checkIntegrity()
        try await engine.resume()
        await engine.abort("r\(3 * i)")
      }
    }
    for (request, wanted) in zip(requests, wanted) {
      group.addTask {
        let output = try await engine.generate(request)
        #expect(wanted.outputTokens.starts(with: output.outputTokens))
        #expect(output.finishReason == .abort("Aborted") || output.outputTokens == wanted.outputTokens)
      }
    }
    try await group.waitForAll()
  }
}
