import Torch
import Training

/// One rank of `--train-backend megatron`.
final class MegatronTrainActor: TrainActor {
  let core: TrainerCore

  init(_ args: TrainerSetup, role: TrainRole, withRef: Bool, withOPDTeacher: Bool, store: Store) throws {
    core = try TrainerCore(args, role: role, withRef: withRef, withOPDTeacher: withOPDTeacher, store: store) {
      try MegatronBackend($0, policies: $1, options: $2, parallel: $3)
    }
  }

  func asyncTrain(rolloutID: Int, rolloutDataRef: TrainBatch) throws -> TrainReport {
    try core.train(rolloutID: rolloutID, rolloutDataRef)
  }

  func saveModel(rolloutID: Int, forceSync: Bool) throws { try core.save(rolloutID: rolloutID, forceSync: forceSync) }

  // What it is asked as a trainer of any backend.

  func train(rolloutID: Int, rolloutData: TrainBatch) throws -> TrainReport {
    try asyncTrain(rolloutID: rolloutID, rolloutDataRef: rolloutData)
  }

  func save(rolloutID: Int, forceSync: Bool) throws { try saveModel(rolloutID: rolloutID, forceSync: forceSync) }
}
