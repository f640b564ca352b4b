import Parallelism
import Torch
import Training

/// All that a trainer rank needs to know to begin, besides its role.
public struct TrainerSetup: Sendable, Codable {
  /// The model and its weights to start from.
  public var folder: String
  /// nil: `folder`.
  public var referenceFolder: String?
  public var teacherFolder: String?
  public var backend: TrainBackendKind
  public var options: TrainingOptions
  public var layout: ParallelLayout
  public var rank = 0
  /// Where rank 0's store listens.
  public var storePort = 0
  public var device = Device.cpu
  public var threadCount = 1
  /// How long a collective may wait for a rank.
  public var timeoutSeconds = 600
  /// A training state to continue from.
  public var stateFolder: String?
  /// false: from its weights alone.
  public var loadsOptimizer = true
  /// Its policy is the reference too.
  public var referenceIsLoaded = false
  /// Where iterations are saved.
  public var saveFolder: String?
  public var savesOptimizer = true

  public init(folder: String, backend: TrainBackendKind, layout: ParallelLayout, options: TrainingOptions) {
    (self.folder, self.backend, self.layout, self.options) = (folder, backend, layout, options)
  }
}

/// What a trainer learns: how to act, or what to expect.
public enum TrainRole: String, Sendable, Codable {
  case actor, critic
}
