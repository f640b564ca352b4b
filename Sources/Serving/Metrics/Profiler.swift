import Foundation
import Inference
import JSON
import Synchronization

/// Records what a server does to its requests, in Chrome's trace format.
final class Profiler: Sendable {
  private struct Recording {
    var folder: String
    var name: String
    var start = ContinuousClock.now
    var events: [JSONValue] = []
    /// The rows on which requests are drawn; false: free.
    var rows: [Bool] = []
  }
  private let recording = Mutex<Recording?>(nil)

  /// A request that is being drawn.
  struct Span: Sendable {
    fileprivate let recordingStart: ContinuousClock.Instant
    fileprivate let start = ContinuousClock.now
    fileprivate let row: Int
  }

  var isRunning: Bool { recording.withLock { $0 != nil } }

  /// - Returns: whether it was not running before.
  func start(folder: String, name: String) -> Bool {
    recording.withLock { recording in
      guard recording == nil else { return false }
      recording = Recording(folder: folder, name: name)
      return true
    }
  }

  /// Writes the trace.
  /// - Returns: its path; nil when nothing was recorded.
  func stop() throws -> String? {
    guard let ended = recording.withLock({ recording in
      defer { recording = nil }
      return recording
    }) else { return nil }
    try FileManager.default.createDirectory(atPath: ended.folder, withIntermediateDirectories: true)
    let path = URL(fileURLWithPath: ended.folder).appendingPathComponent(ended.name + ".trace.json")
    let trace: JSONValue = ["displayTimeUnit": "ms", "traceEvents": .array(ended.events)]
    try trace.data().write(to: path)
    return path.path
  }

  /// A request has come; nil while nothing is recorded.
  func began() -> Span? {
    recording.withLock { recording in
      guard recording != nil else { return nil }
      let row = recording!.rows.firstIndex(of: false) ?? recording!.rows.count
      if row == recording!.rows.count { recording!.rows.append(true) } else { recording!.rows[row] = true }
      return Span(recordingStart: recording!.start, row: row)
    }
  }

  /// - Parameter output: nil when there is none.
  func ended(_ span: Span?, _ request: GenerateRequest, _ output: GenerateOutput?) {
    guard let span else { return }
    let now = ContinuousClock.now
    recording.withLock { recording in
      guard recording != nil, recording!.start == span.recordingStart else { return }
      recording!.rows[span.row] = false
      func event(_ name: String, _ start: Double, _ duration: Double, _ arguments: JSONValue) -> JSONValue {
        [
          "name": .string(name), "cat": "request", "ph": "X", "pid": 0, "tid": .int(span.row), "ts": .double(start * 1e6),
          "dur": .double(duration * 1e6), "args": arguments,
        ]
      }
      let (start, length) = ((span.start - span.recordingStart).seconds, (now - span.start).seconds)
      recording!.events.append(
        event(
          request.id, start, length,
          [
            "prompt_tokens": .int(request.tokens.count), "output_tokens": .int(output?.outputTokens.count ?? 0),
            "cached_tokens": .int(output?.cachedTokens ?? 0), "finish_reason": output?.finishReason.json ?? .null,
          ]))
      guard let output, !output.outputTokens.isEmpty else { return }
      let first = min(max(0, output.firstTokenLatency), length)
      recording!.events.append(event("to the first token", start, first, ["tokens": .int(output.promptTokens)]))
      recording!.events.append(
        event("further tokens", start + first, length - first, ["tokens": .int(output.outputTokens.count - 1)]))
    }
  }

  /// What the engine does at this moment.
  func note(_ status: EngineStatus) {
    let now = ContinuousClock.now
    recording.withLock { recording in
      guard let start = recording?.start else { return }
      let time = JSONValue.double((now - start).seconds * 1e6)
      func counter(_ name: String, _ values: JSONValue) -> JSONValue {
        ["name": .string(name), "ph": "C", "pid": 0, "ts": time, "args": values]
      }
      recording!.events.append(
        counter("requests", ["running": .int(status.runningRequests), "waiting": .int(status.waitingRequests)]))
      recording!.events.append(counter("generated tokens", ["total": .int(status.generatedTokens)]))
      recording!.events.append(counter("used pages", ["held": .int(status.totalPages - status.freePages)]))
    }
  }
}
