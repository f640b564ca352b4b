import Inference
import Models
import Parallelism
import Torch
import Training

extension Inspection {
  /// Sizes that the model can be divided by: each was tried by building the ranks' parts as training and serving do.
  public struct WorkingLayouts: Sendable, Encodable {
    public var megatron = Sizes()
    /// Whether FSDP takes it.
    public var fsdp: Sizes?
    public var engine = Sizes()

    /// Each alone, the others 1. In an engine experts are divided over the tensor-parallel ranks.
    public struct Sizes: Sendable, Encodable {
      public var tensor = [1]
      /// Stages of as many layers each.
      public var pipeline = [1]
      public var expert = [1]
    }

    init(_ model: ModelConfiguration) throws {
      func train(_ kind: TrainBackendKind, _ size: Int, _ part: WritableKeyPath<ParallelConfiguration, Int>?) throws -> Bool {
        var backend = BackendConfiguration()
        backend.trainBackend = kind
        if let part { backend.parallel[keyPath: part] = size }
        // Experts need it where layers are split.
        backend.parallel.sequenceParallel = backend.parallel.tensorParallelSize > 1
        return try whatWorks { try backend.check(model, worldSize: size) } != nil
      }
      let experts = model.mixture?.expertCount ?? 1
      megatron.tensor = try (1...model.headCount).filter { try train(.megatron, $0, \.tensorParallelSize) }
      megatron.pipeline = try (1...model.layerCount).filter { try train(.megatron, $0, \.pipelineParallelSize) }
      megatron.expert = try (1...experts).filter { try train(.megatron, $0, \.expertParallelSize) }
      if try train(.fsdp, 1, nil) {
        fsdp = Sizes(expert: try (1...experts).filter { try train(.fsdp, $0, \.expertParallelSize) })
      }
      func serves(_ tensor: Int, _ expert: Int) throws -> Bool {
        var options = EngineOptions()
        (options.tensorParallelSize, options.expertParallelSize) = (tensor, expert)
        return try whatWorks {
          _ = try model.quantized(nil).model(
            parallel: .imagined(options.layout(), rank: 0), dtype: model.dtype ?? .float32)
        } != nil
      }
      engine.tensor = try (1...model.headCount).filter { try serves($0, 1) }
      engine.expert = try (1...min(experts, model.headCount)).filter { try serves($0, $0) }
    }
  }
}

/// - Returns: nil: the model cannot be divided, or kept, so.
/// - Throws: what is no such refusal.
func whatWorks<Value>(_ body: () throws -> Value) throws -> Value? {
  do { return try body() } catch let error {
    switch error {
    case is ModelError, is LayoutError, is TrainingError, is EngineError, is ConfigurationError: return nil
    default: throw error
    }
  }
}
