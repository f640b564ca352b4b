import Checkpoints
import Foundation

extension CriticConfiguration {
  /// `--critic-load`, where that is a Hugging Face folder.
  var huggingFaceLoad: URL? {
    guard let load, FileManager.default.fileExists(atPath: load + "/config.json") else { return nil }
    return URL(fileURLWithPath: load)
  }
}

extension TrainConfiguration {
  /// Whether the reference is the policy of the state that is continued: it became that after the last rollout.
  func referenceIsLoaded(_ resume: RunCheckpoints.Resume?) throws -> Bool {
    guard let resume, let interval = algorithm.referenceUpdateInterval, resume.nextRollout >= interval else { return false }
    try require(
      resume.nextRollout % interval == 0,
      "\(resume.stateFolder.path) holds no reference: that was the policy after rollout "
        + "\(resume.nextRollout / interval * interval - 1) (--ref-update-interval \(interval)); continue from there")
    return true
  }

  /// The critic's state to continue from: of the same rollout as the actor's, where that is continued.
  func criticState(_ resume: RunCheckpoints.Resume?) throws -> URL? {
    guard usesCritic else { return nil }
    let starts = critic.huggingFaceLoad != nil
    guard let path = (starts ? nil : critic.load) ?? checkpoint.load.map(RunCheckpoints.critic) else { return nil }
    let directory = CheckpointDirectory(URL(fileURLWithPath: path))
    guard let resume else {
      let latest = try directory.latestIteration()
      // The folder that it is saved to may be empty still.
      try require(
        latest != nil || starts || critic.load == nil || critic.load == critic.save,
        "--critic-load \(path) holds neither checkpoints nor a model's config.json; give a folder that does")
      return latest.map(directory.folder)
    }
    let folder = directory.folder(iteration: resume.iteration)
    if FileManager.default.fileExists(atPath: folder.path) { return folder }
    guard starts else {
      throw ConfigurationError(
        "\(folder.path) is not there, but the actor continues from iteration \(resume.iteration); "
          + "give --critic-load FOLDER: the critic's checkpoints, or a Hugging Face folder to start it from")
    }
    return nil
  }
}
