import Checkpoints
import Foundation
import JSON
import Rollout
import Torch

/// Saves of a run below `--save`: `iter_{n}` after n rollouts, the data source's state beside it, and the tracker file,
/// which is written last: what it names is whole.
struct RunCheckpoints {
  let directory: CheckpointDirectory
  /// Where the critic's state goes, under the same iterations.
  private let criticDirectory: CheckpointDirectory

  /// - Parameter critic: nil: beside the actor's.
  init(_ path: String, critic: String? = nil) {
    directory = CheckpointDirectory(URL(fileURLWithPath: path))
    criticDirectory = CheckpointDirectory(URL(fileURLWithPath: critic ?? Self.critic(in: path)))
  }

  /// Where the critic's checkpoints are, unless a flag says otherwise.
  static func critic(in path: String) -> String { path + "/critic" }

  /// What a run continues from.
  struct Resume {
    let iteration: Int
    let stateFolder: URL
    /// nil: the data begins anew.
    let sourceState: URL?
    /// The first rollout that is still to be done.
    let nextRollout: Int
    let nextStep: Int
  }

  /// nil when nothing was saved there yet.
  /// - Parameters:
  ///   - wanted: the iteration to continue from; nil: the last.
  ///   - isFineTuned: whether only weights are wanted, whatever program wrote them.
  func resume(_ wanted: Int?, isFineTuned: Bool) throws -> Resume? {
    guard let iteration = try wanted ?? directory.latestIteration() else { return nil }
    let folder = directory.folder(iteration: iteration)
    guard wanted == nil || directory.completeIterations().contains(iteration) else {
      throw ConfigurationError(
        "--ckpt-step \(iteration): \(folder.path) is not there; "
          + "--load has \(directory.completeIterations().map(String.init).joined(separator: ", "))")
    }
    if isFineTuned { return Resume(iteration: iteration, stateFolder: folder, sourceState: nil, nextRollout: 0, nextStep: 0) }
    let file = folder.appendingPathComponent("run.json")
    guard let run = try? JSONValue(parsing: Data(contentsOf: file)), let next = run["next_rollout_id"]?.int,
      let step = run["next_step"]?.int
    else {
      throw ConfigurationError("\(file.path) cannot be read; the checkpoint was not written by this program, give another --load")
    }
    return Resume(
      iteration: iteration, stateFolder: folder, sourceState: RolloutDataSource.stateFile(in: directory.url, rolloutID: next - 1),
      nextRollout: next, nextStep: step)
  }

  /// A save that was begun and is not the one to continue from yet.
  struct Pending {
    fileprivate let parts: [Part]
    fileprivate let rolloutID: Int
    fileprivate let nextStep: Int
  }

  /// One trainer's state.
  fileprivate struct Part {
    let trainers: TrainerGroup
    let directory: CheckpointDirectory
    let partial: PartialFolder
  }

  /// Copies the state of a run and begins to write it; the run may go on.
  /// - Parameter forceSync: what trainers have is written when this returns.
  func startSaving(
    rolloutID: Int, nextStep: Int, trainers: TrainerGroup, critics: TrainerGroup?, source: RolloutDataSource?,
    forceSync: Bool
  ) async throws -> Pending {
    var parts: [Part] = []
    do {
      // The critic first: what the actor's tracker names has a critic.
      for (group, directory) in [(critics, criticDirectory), (trainers, directory)] {
        guard let group else { continue }
        let partial = try directory.begin(iteration: rolloutID + 1)
        parts.append(Part(trainers: group, directory: directory, partial: partial))
        try await group.save(rolloutID: rolloutID, forceSync: forceSync)
      }
      let run: JSONValue = [
        "rollout_id": .int(rolloutID), "next_rollout_id": .int(rolloutID + 1), "next_step": .int(nextStep),
      ]
      try writeAtomically(run.data(.indented(2)), to: parts.last!.partial.url.appendingPathComponent("run.json"))
      try await source?.save(to: RolloutDataSource.stateFile(in: directory.url, rolloutID: rolloutID))
    } catch {
      for part in parts { part.partial.discard() }
      throw error
    }
    return Pending(parts: parts, rolloutID: rolloutID, nextStep: nextStep)
  }

  /// Waits until everything is written, and makes it what a run continues from.
  func finish(_ pending: Pending) async throws {
    var open = pending.parts
    do {
      while let part = open.first {
        // Megatron-Core's names.
        try await part.trainers.finishSaving(into: part.partial.url, common: [
          "checkpoint_version": 3.0, "iteration": .int(pending.rolloutID + 1),
          "opt_param_scheduler": ["num_steps": .int(pending.nextStep)],
        ])
        try part.partial.commit()
        open.removeFirst()
      }
    } catch {
      for part in open { part.partial.discard() }
      throw error
    }
    for part in pending.parts { try part.directory.record(iteration: pending.rolloutID + 1) }
  }
}
