import Foundation
import JSON

/// Rollouts as files: one sample a line, under slime's field names, so that training can be repeated without generation and
/// generation looked at without training.
public struct DebugRolloutData: Sendable {
  /// A path with `{rollout_id}` where the number goes.
  public let template: String

  /// - Throws: `DatasetError` when the path has no `{rollout_id}`: every rollout would replace the one before.
  public init(template: String) throws(DatasetError) {
    guard template.contains("{rollout_id}") else {
      throw DatasetError("the path of debug rollout data must contain {rollout_id}: \(template)")
    }
    self.template = template
  }

  public func path(rolloutID: Int) -> String {
    template.replacingOccurrences(of: "{rollout_id}", with: String(rolloutID))
  }

  public func save(_ samples: [Sample], rolloutID: Int) throws {
    var text: [UInt8] = []
    for sample in samples {
      sample.json.write(.compact, level: 0, into: &text)
      text.append(UInt8(ascii: "\n"))
    }
    let file = URL(fileURLWithPath: path(rolloutID: rolloutID))
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text).write(to: file, options: .atomic)
  }

  /// Needed are `tokens`, `response_length`, `reward` and `group_index`; without an `index` samples are numbered by line, and
  /// without a `status` they count as completed.
  /// - Throws: `DatasetError` naming file, line and field.
  public func load(rolloutID: Int) throws -> [Sample] {
    let path = path(rolloutID: rolloutID)
    var samples: [Sample] = []
    try JSONLines(path: path).forEachObject { line, object in
      do {
        for field in ["tokens", "response_length", "reward", "group_index"] where object[field] ?? .null == .null {
          throw SampleError("field '\(field)' is missing; the line has \(object.keys.joined(separator: ", "))")
        }
        var sample = try Sample(json: .object(object))
        guard !sample.tokens.isEmpty else { throw SampleError("field 'tokens' is empty") }
        sample.index = sample.index ?? samples.count
        if object["status"] ?? .null == .null { sample.status = .completed }
        samples.append(sample)
      } catch let error as SampleError {
        throw DatasetError("\(path) line \(line): \(error)")
      }
    }
    guard !samples.isEmpty else { throw DatasetError("\(path) holds no samples") }
    return samples
  }
}
