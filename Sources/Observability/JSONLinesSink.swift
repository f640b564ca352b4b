import Foundation
import JSON
import Synchronization

/// Appends one JSON object a step to a file: `{"step":3,"rollout/raw_reward":0.5}`.
///
/// A line is handed to the system whole before `record` returns, so that a process killed later has lost nothing.
public final class JSONLinesSink: MetricsSink {
  private let file: Mutex<FileHandle>

  /// - Parameter firstStep: the step that this run begins with. Lines of it and of later steps are from a run that was
  ///   continued from an earlier save, and are dropped; so is a last line that was torn off.
  public init(_ url: URL, firstStep: Int) throws {
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    let before = FileManager.default.contents(atPath: url.path)
    let kept = Self.lines(of: before ?? Data(), before: firstStep)
    if kept != before { try kept.write(to: url, options: .atomic) }
    let handle = try FileHandle(forWritingTo: url)
    try handle.seekToEnd()
    file = Mutex(handle)
  }

  public func record(_ metrics: Metrics, step: Int) throws {
    var object: JSONObject = ["step": .int(step)]
    for (name, value) in metrics.json.pairs { object[name] = value }
    let line = JSONValue.object(object).data() + Data("\n".utf8)
    try file.withLock { try $0.write(contentsOf: line) }
  }

  /// The whole lines whose step comes before `firstStep`.
  private static func lines(of text: Data, before firstStep: Int) -> Data {
    var kept = Data()
    var rest = text
    while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
      let line = rest[rest.startIndex...end]
      if let value = try? JSONValue(parsing: Data(line)), let step = value["step"]?.int, step < firstStep { kept += line }
      rest = rest[rest.index(after: end)...]
    }
    return kept
  }
}
