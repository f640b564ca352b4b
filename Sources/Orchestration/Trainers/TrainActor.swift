import Torch
import Training

/// One rank of a trainer, by its backend: what the loop asks of it through the process that it lives in.
protocol TrainActor: AnyObject {
  /// Joins the other ranks at `store` and loads the model.
  init(_ args: TrainerSetup, role: TrainRole, withRef: Bool, withOPDTeacher: Bool, store: Store) throws

  var core: TrainerCore { get }

  func train(rolloutID: Int, rolloutData: TrainBatch) throws -> TrainReport

  /// Begins to write this rank's part of the training state, of which the driver made the folder; training may go on.
  /// - Parameter forceSync: it is written when this returns.
  func save(rolloutID: Int, forceSync: Bool) throws

  /// The weights are about to go to the engine.
  func updateWeights() throws
}

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

  func updateWeights() throws { try core.updateWeights() }

  func train(rolloutID: Int, rolloutData: TrainBatch) throws -> TrainReport {
    try asyncTrain(rolloutID: rolloutID, rolloutDataRef: rolloutData)
  }

  func save(rolloutID: Int, forceSync: Bool) throws { try saveModel(rolloutID: rolloutID, forceSync: forceSync) }
}

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

  func updateWeights() throws { try core.updateWeights() }
}
