import Checkpoints
import Foundation
import JSON
import Rollout
import Torch

/// Saves of a run below `--save`: `iter_{n}` after n rollouts, the data source's state beside it, and the tracker file,
/// which is written last: what it names is whole.
struct RunCheckpoints {
  let directory: CheckpointDirectory

  init(_ path: String) { directory = CheckpointDirectory(URL(fileURLWithPath: path)) }

  /// What a run continues from.
  struct Resume {
    let stateFolder: URL
    let sourceState: URL
    /// The first rollout that is still to be done.
    let nextRollout: Int
    let nextStep: Int
  }

  /// nil when nothing was saved there yet.
  func latest() throws -> Resume? {
    guard let iteration = try directory.latestIteration() else { return nil }
    let folder = directory.folder(iteration: iteration)
    let file = folder.appendingPathComponent("run.json")
    guard let run = try? JSONValue(parsing: Data(contentsOf: file)), let next = run["next_rollout_id"]?.int,
      let step = run["next_step"]?.int
    else {
      throw ConfigurationError("\(file.path) cannot be read; the checkpoint was not written by this program, give another --load")
    }
    return Resume(
      stateFolder: folder, sourceState: RolloutDataSource.stateFile(in: directory.url, rolloutID: next - 1),
      nextRollout: next, nextStep: step)
  }

  /// A save that was begun and is not the one to continue from yet.
  struct Pending {
    fileprivate let partial: PartialFolder
    fileprivate let rolloutID: Int
    fileprivate let nextStep: Int
  }

  /// Copies the state of a run and begins to write it; the run may go on.
  func startSaving(
    rolloutID: Int, nextStep: Int, trainers: TrainerGroup, source: RolloutDataSource?, withOptimizer: Bool
  ) async throws -> Pending {
    let partial = try directory.begin(iteration: rolloutID + 1)
    do {
      try await trainers.startSaving(into: partial.url, withOptimizer: withOptimizer)
      let run: JSONValue = [
        "rollout_id": .int(rolloutID), "next_rollout_id": .int(rolloutID + 1), "next_step": .int(nextStep),
      ]
      try writeAtomically(run.data(.indented(2)), to: partial.url.appendingPathComponent("run.json"))
      try await source?.save(to: RolloutDataSource.stateFile(in: directory.url, rolloutID: rolloutID))
    } catch {
      partial.discard()
      throw error
    }
    return Pending(partial: partial, rolloutID: rolloutID, nextStep: nextStep)
  }

  /// Waits until everything is written, and makes it what a run continues from.
  func finish(_ pending: Pending, trainers: TrainerGroup) async throws {
    do {
      // Megatron-Core's names.
      try await trainers.finishSaving(into: pending.partial.url, common: [
        "checkpoint_version": 3.0, "iteration": .int(pending.rolloutID + 1),
        "opt_param_scheduler": ["num_steps": .int(pending.nextStep)],
      ])
      try pending.partial.commit()
    } catch {
      pending.partial.discard()
      throw error
    }
    try directory.record(iteration: pending.rolloutID + 1)
  }
}
