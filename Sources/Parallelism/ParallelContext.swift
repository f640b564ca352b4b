import Torch

/// What one rank is: its groups and its device. Passed down; there is no global parallel state.
public struct ParallelContext {
  /// All ranks of the trainer (or of one engine).
  public let world: ProcessGroup
  /// Ranks that hold different shards of the same layers' weights.
  public let tensor: ProcessGroup
  /// Ranks that train on different data; FSDP shards over them.
  public let data: ProcessGroup
  public let device: Device

  public init(world: ProcessGroup, tensor: ProcessGroup, data: ProcessGroup, device: Device) {
    (self.world, self.tensor, self.data, self.device) = (world, tensor, data, device)
  }

  /// One rank, alone.
  public static func single(_ device: Device = .cpu) -> ParallelContext {
    ParallelContext(world: .single("world"), tensor: .single("tensor"), data: .single("data"), device: device)
  }
}
