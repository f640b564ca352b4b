import Parallelism
import Torch
import Training

/// All that a trainer rank needs to know to begin.
public struct TrainerSetup: Sendable, Codable {
  public var folder: String
  public var referenceFolder: String?
  public var backend: TrainBackendKind
  public var layout: ParallelLayout
  public var options: TrainingOptions
  public var rank: Int
  /// Where rank 0's store listens.
  public var storePort: Int
  public var device: Device
  public var threadCount: Int
  /// How long a collective may wait for a rank.
  public var timeoutSeconds: Int
  /// A training state to continue from.
  public var stateFolder: String?
}
