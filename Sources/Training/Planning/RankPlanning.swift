import Models
import Parallelism
import Torch

/// What one rank would hold, compute and send, found by running its real code on the meta device: the forward and
/// backward pass of a micro-batch, with every tensor counted that is made.
///
/// Not counted: what kernels use inside, losses of the algorithm beyond the log-probabilities and of routers, passes
/// for log-probabilities (`forwardOperations` each), and the sums of gradients that tensor-parallel ranks hold alike.
/// Experts count as equally busy.
public struct PlannedRank: Sendable, Equatable {
  public var rank = 0
  public var stage = 0
  /// Of this rank, one range a virtual stage.
  public var layers: [Range<Int>] = []
  /// Numbers in the weights that this rank computes with (FSDP: that it holds a shard of).
  public var parameterCount = 0
  public var memory = PlannedMemory()
  /// Floating-point operations of matrix products and attention in an optimizer step, recomputation included, and the
  /// part of the forward passes.
  public var operations = 0.0
  public var forwardOperations = 0.0
  /// Bytes of all tensors that are made in a step: what element-wise work is measured by.
  public var madeBytes = 0.0
  /// Bytes sent to other ranks in a step, by the kind of group.
  public var sentBytes: [String: Double] = [:]
  /// Micro-batches of a step.
  public var microBatches = 0
}

/// Bytes on one rank, by what they are for.
public struct PlannedMemory: Sendable, Equatable {
  /// In the compute type; FSDP: the shards, as they are trained.
  public var weights = 0
  public var gradients = 0
  /// Trained weights besides those, or what they lack of fp32, and moments.
  public var optimizer = 0
  /// Most that is kept for backward passes at a time, of all micro-batches in flight.
  public var activations = 0
  /// Collectives' buffers: FSDP's whole weights, the optimizer step's reduced gradients.
  public var buffers = 0
  /// What is needed besides while something is computed, the logits above all.
  public var working = 0
  /// The engine's, where it shares the device.
  public var engineWeights = 0
  public var cache = 0
  /// A critic's trainer on the same device, all of it.
  public var critic = 0
  /// In the host's memory instead: it counts in no total.
  public var onHost = 0

  public init() {}

  mutating func moveToHost(_ parts: WritableKeyPath<PlannedMemory, Int>...) {
    for part in parts {
      onHost += self[keyPath: part]
      self[keyPath: part] = 0
    }
  }

  public var parts: [(name: String, bytes: Int)] {
    [
      ("weights", weights), ("gradients", gradients), ("optimizer", optimizer), ("activations", activations),
      ("buffers", buffers), ("working memory", working), ("engine weights", engineWeights), ("KV cache", cache),
      ("critic", critic),
    ]
  }

  /// What training keeps from step to step.
  public var state: Int { weights + gradients + optimizer }

  public var total: Int { parts.reduce(0) { $0 + $1.bytes } }
}

extension PlannedRank {
  /// - Parameter device: where it is to run.
  /// - Throws: `ModelError`, `LayoutError` or `TrainingError` when the model cannot be divided so.
  public init(
    _ configuration: ModelConfiguration, layout: ParallelLayout, rank: Int, backend: PlannedBackend,
    options: TrainingOptions, work: PlannedWork, device: Device.Kind
  ) throws {
    let parallel = ParallelContext.imagined(layout, rank: rank)
    let run = ImaginedRun(on: device)
    self = try run {
      try catchingTorchErrors {
        switch backend {
        case .megatron: try MegatronPlanning(configuration, options, work, parallel, run).rank()
        case .fsdp: try fsdpRank(configuration, options, work, parallel, run)
        }
      }
    }
    (self.rank, stage) = (rank, parallel.stage)
    microBatches = work.microBatches
  }
}

public enum PlannedBackend: Sendable { case megatron, fsdp }

/// What a counted run has done so far.
struct RunMark {
  let operations: Double
  let made: Double
  let sent: [String: Double]

  init(_ run: ImaginedRun) { (operations, made, sent) = (run.operations, Double(run.madeBytes), run.sentBytes) }
}

extension PlannedRank {
  /// Adds what was done since, `times` times.
  mutating func add(_ run: ImaginedRun, since mark: RunMark, times: Int) {
    operations += (run.operations - mark.operations) * Double(times)
    madeBytes += (Double(run.madeBytes) - mark.made) * Double(times)
    for (kind, bytes) in run.sentBytes {
      let more = bytes - (mark.sent[kind] ?? 0)
      if more > 0 { sentBytes[kind, default: 0] += more * Double(times) }
    }
  }
}
