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

extension TrainActor {
  func updateWeights() throws { try core.updateWeights() }
}
