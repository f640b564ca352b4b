import Inference
import Models
import Torch
import Training

extension Inspection {
  /// Bytes of one rank that trains the whole model in bf16 with Adam in fp32, as `slime plan` counts them: a sequence at a time.
  public struct TrainingMemory: Sendable, Encodable {
    public var sequenceLength: Int
    public var weights: Int
    public var gradients: Int
    public var optimizer: Int
    public var activations: Int
    /// With `--recompute-granularity full`.
    public var recomputedActivations: Int
    public var working: Int

    init(_ configuration: InspectConfiguration, _ model: ModelConfiguration) throws {
      var plan = PlanConfiguration()
      plan.train.checkpoint.hfCheckpoint = configuration.folder
      plan.train.checkpoint.modelProvider = configuration.modelProvider
      plan.train.globalBatchSize = 1
      plan.averageTokens = min(model.contextLength, 4096)
      let memory = try Plan(plan).ranks[0].memory
      (plan.train.backend.parallel.recomputeGranularity, plan.train.backend.parallel.recomputeMethod) = (.full, .uniform)
      recomputedActivations = try Plan(plan).ranks[0].memory.activations
      (weights, gradients, optimizer) = (memory.weights, memory.gradients, memory.optimizer)
      (activations, working) = (memory.activations, memory.working)
      sequenceLength = plan.averageTokens!
    }
  }

  /// Bytes that an engine of one rank takes.
  public struct ServingMemory: Sendable, Encodable {
    /// As the checkpoint has them.
    public var weights: Int
    /// With `--quantization fp8`; nil: the model cannot be kept so.
    public var float8Weights: Int?
    public var cachePerToken: Int

    init(_ model: ModelConfiguration) throws {
      let dtype = model.dtype ?? .float32
      weights = try Plan.weightBytes(model.quantized(nil), dtype)
      float8Weights = try whatWorks { try Plan.weightBytes(model.quantized(.fp8), dtype) }
      cachePerToken = KVCache.bytesPerToken(model, dtype: dtype)
    }
  }
}
