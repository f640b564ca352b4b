import Foundation

/// A folder of training checkpoints, laid out as Megatron and slime do: `iter_0000010`, `iter_0000020`, …, and the
/// file `latest_checkpointed_iteration.txt` that says which one to continue from.
///
/// A checkpoint is written with `begin(iteration:)`, committed, and then recorded. A save that was interrupted leaves an
/// `iter_….partial` folder, which is never listed and which the next save of that iteration removes.
public struct CheckpointDirectory: Sendable {
  public static let trackerName = "latest_checkpointed_iteration.txt"

  public let url: URL

  public init(_ url: URL) { self.url = url }

  public var tracker: URL { url.appendingPathComponent(Self.trackerName) }

  /// Where the checkpoint of an iteration is, or would be.
  public func folder(iteration: Int) -> URL {
    let digits = String(iteration)
    return url.appendingPathComponent("iter_" + String(repeating: "0", count: max(0, 7 - digits.count)) + digits)
  }

  /// The iterations that are completely saved, in ascending order.
  public func completeIterations() -> [Int] {
    listing(of: url).compactMap { name -> Int? in
      guard name.hasPrefix("iter_"), let iteration = Int(name.dropFirst(5)), iteration >= 0 else { return nil }
      let expected = folder(iteration: iteration)
      return expected.lastPathComponent == name && isFolder(expected) ? iteration : nil
    }.sorted()
  }

  /// The iteration that the tracker names; nil where there is no tracker yet. Throws where it names none that is there.
  public func latestIteration() throws -> Int? {
    guard FileManager.default.fileExists(atPath: tracker.path) else { return nil }
    let text = (try? String(contentsOf: tracker, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
    guard let text, let iteration = Int(text), iteration >= 0 else {
      throw CheckpointError(tracker, "'\(text?.prefix(40) ?? "")' is no iteration; write the number of one that is saved here")
    }
    guard isFolder(folder(iteration: iteration)) else {
      let others = completeIterations().map { "iter \($0)" }
      throw CheckpointError(
        tracker, "it names \(folder(iteration: iteration).lastPathComponent), which is not there; "
          + "this folder has \(others.isEmpty ? "no checkpoint" : sentence(others))")
    }
    return iteration
  }

  /// Begins the checkpoint of an iteration: write into the folder's `url`, then `commit()` it, then `record` it.
  public func begin(iteration: Int) throws -> PartialFolder { try PartialFolder(for: folder(iteration: iteration)) }

  /// Makes this iteration the one to continue from.
  public func record(iteration: Int) throws { try writeAtomically(Data("\(iteration)".utf8), to: tracker) }
}
