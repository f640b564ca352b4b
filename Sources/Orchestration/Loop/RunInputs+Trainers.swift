import Checkpoints
import Foundation

extension RunInputs {
  /// What each rank of the actor is told.
  func actorSetup(_ resume: RunCheckpoints.Resume?) throws -> TrainerSetup {
    var setup = TrainerSetup(
      folder: folder.url.path, backend: configuration.backend.trainBackend,
      layout: try configuration.backend.layout(worldSize: configuration.cluster.trainerRanks),
      options: try configuration.trainingOptions(rolloutCount: rolloutCount))
    setup.referenceFolder = configuration.checkpoint.referenceLoad
    setup.teacherFolder = configuration.distillation.teacherLoad
    setup.stateFolder = resume?.stateFolder.path
    setup.referenceIsLoaded = try configuration.referenceIsLoaded(resume)
    setup.saveFolder = configuration.checkpoint.save
    return completed(setup)
  }

  /// The same of the critic.
  func criticSetup(_ resume: RunCheckpoints.Resume?) throws -> TrainerSetup {
    var setup = TrainerSetup(
      folder: criticFolder.url.path, backend: configuration.backend.trainBackend,
      layout: try configuration.backend.layout(worldSize: configuration.criticRanks),
      options: try configuration.criticOptions(rolloutCount: rolloutCount))
    setup.stateFolder = try configuration.criticState(resume)?.path
    setup.saveFolder = configuration.critic.save ?? configuration.checkpoint.save.map(RunCheckpoints.critic)
    return completed(setup)
  }

  private func completed(_ setup: TrainerSetup) -> TrainerSetup {
    var setup = setup
    setup.loadsOptimizer = configuration.checkpoint.loadsOptimizer && !configuration.checkpoint.isFineTuned
    setup.savesOptimizer = configuration.checkpoint.savesOptimizer
    setup.timeoutSeconds = configuration.cluster.distributedTimeoutMinutes * 60
    return setup
  }
}
