import Torch
import Training

/// One rank of `--train-backend fsdp`.
final class FSDPTrainActor: TrainActor {
  let core: TrainerCore

  init(_ args: TrainerSetup, role: TrainRole, withRef: Bool, withOPDTeacher: Bool, store: Store) throws {
    core = try TrainerCore(args, role: role, withRef: withRef, withOPDTeacher: withOPDTeacher, store: store) {
      try FSDPBackend($0, policies: $1, options: $2, parallel: $3)
    }
  }

  func train(rolloutID: Int, rolloutData: TrainBatch) throws -> TrainReport {
    try core.train(rolloutID: rolloutID, rolloutData)
  }

  func save(rolloutID: Int, forceSync: Bool) throws { try core.save(rolloutID: rolloutID, forceSync: forceSync) }
}
