/// How many ranks each kind of parallelism takes: a choice of numbers that every rank knows.
///
/// Rank order and groups are those of Megatron-Core (`tp-cp-ep-dp-pp`, the first varies fastest): a dense layer's rank is
/// tp + TP·(cp + CP·(dp + DP·pp)), an expert's etp + ETP·(ep + EP·(edp + EDP·pp)) over the same ranks.
public struct ParallelLayout: Sendable, Equatable, Codable {
  public let worldSize: Int
  public let tensorParallelSize: Int
  /// Activations outside attention and feed-forward are split over the tensor-parallel ranks along the sequence.
  public let sequenceParallel: Bool
  public let contextParallelSize: Int
  public let pipelineParallelSize: Int
  public let expertParallelSize: Int
  public let expertTensorParallelSize: Int
  /// Neighbouring ranks that FSDP spreads one copy of the weights over. Fewer than data × context: hybrid sharding, with
  /// several copies whose gradients are summed (`dp_replicate_size` of them in Hugging Face Accelerate).
  public let shardSize: Int

  /// - Parameters:
  ///   - expertTensorParallelSize: nil: as the tensor-parallel size.
  ///   - shardSize: nil: all ranks with the same dense weights (data × context).
  /// - Throws: `LayoutError` when the sizes do not multiply to the world's.
  public init(
    worldSize: Int, tensorParallelSize: Int = 1, sequenceParallel: Bool = false, contextParallelSize: Int = 1,
    pipelineParallelSize: Int = 1, expertParallelSize: Int = 1, expertTensorParallelSize: Int? = nil,
    shardSize: Int? = nil
  ) throws(LayoutError) {
    (self.worldSize, self.tensorParallelSize) = (worldSize, tensorParallelSize)
    (self.contextParallelSize, self.pipelineParallelSize) = (contextParallelSize, pipelineParallelSize)
    self.expertParallelSize = expertParallelSize
    self.expertTensorParallelSize = expertTensorParallelSize ?? tensorParallelSize
    // With one rank there is nothing to split, as in Megatron-LM.
    self.sequenceParallel = sequenceParallel && tensorParallelSize > 1
    for (flag, size) in [
      ("--tensor-model-parallel-size", tensorParallelSize), ("--context-parallel-size", contextParallelSize),
      ("--pipeline-model-parallel-size", pipelineParallelSize), ("--expert-model-parallel-size", expertParallelSize),
      ("--expert-tensor-parallel-size", self.expertTensorParallelSize),
    ] where size < 1 {
      throw LayoutError("\(flag) \(size) must be at least 1")
    }
    let dense = tensorParallelSize * contextParallelSize * pipelineParallelSize
    guard worldSize > 0, worldSize % dense == 0 else {
      throw LayoutError(
        "\(worldSize) trainer ranks cannot be divided into groups of \(dense) (--tensor-model-parallel-size "
          + "\(tensorParallelSize) × --context-parallel-size \(contextParallelSize) × --pipeline-model-parallel-size "
          + "\(pipelineParallelSize)); change one of them or --actor-num-gpus-per-node")
    }
    let expert = self.expertTensorParallelSize * expertParallelSize * pipelineParallelSize
    guard worldSize % expert == 0 else {
      throw LayoutError(
        "\(worldSize) trainer ranks cannot be divided into groups of \(expert) for experts (--expert-model-parallel-size "
          + "\(expertParallelSize) × --expert-tensor-parallel-size \(self.expertTensorParallelSize) × "
          + "--pipeline-model-parallel-size \(pipelineParallelSize)); change one of them")
    }
    let copies = worldSize / (tensorParallelSize * pipelineParallelSize)
    self.shardSize = shardSize ?? copies
    guard self.shardSize > 0, copies % self.shardSize == 0 else {
      throw LayoutError(
        "\(copies) ranks with the same weights (data × context) cannot be divided into shard groups of \(self.shardSize); "
          + "choose an --fsdp-shard-size that divides them")
    }
  }

  public var dataParallelSize: Int {
    worldSize / (tensorParallelSize * contextParallelSize * pipelineParallelSize)
  }

  public var expertDataParallelSize: Int {
    worldSize / (expertTensorParallelSize * expertParallelSize * pipelineParallelSize)
  }

  /// Where a rank stands in each kind of parallelism.
  public func coordinates(of rank: Int) -> ParallelCoordinates {
    let perStage = worldSize / pipelineParallelSize
    let inStage = rank % perStage
    let afterTensor = inStage / tensorParallelSize
    let afterExpertTensor = inStage / expertTensorParallelSize
    return ParallelCoordinates(
      tensor: inStage % tensorParallelSize, context: afterTensor % contextParallelSize,
      data: afterTensor / contextParallelSize, pipeline: rank / perStage,
      expertTensor: inStage % expertTensorParallelSize, expert: afterExpertTensor % expertParallelSize,
      expertData: afterExpertTensor / expertParallelSize, shard: afterTensor % shardSize, replica: afterTensor / shardSize)
  }

  /// The ranks that `rank` works with in one kind of parallelism, itself included, in the group's order.
  public func ranks(of group: ParallelGroup, with rank: Int) -> [Int] {
    let own = coordinates(of: rank)
    return (0..<worldSize).filter { group.contains(coordinates(of: $0), with: own) }
  }
}

public struct ParallelCoordinates: Sendable, Equatable {
  public let tensor, context, data, pipeline, expertTensor, expert, expertData, shard, replica: Int
}

/// Ranks that do something together.
public enum ParallelGroup: String, Sendable, CaseIterable {
  /// All ranks.
  case world
  /// Ranks that hold different parts of the same layers' weights.
  case tensor
  /// Ranks that hold different parts of the same sequences.
  case context
  /// Ranks that train the same dense weights on different data.
  case data
  /// Ranks that hold the same dense weights: what gradients are summed over and optimizer state is spread over.
  case dataContext
  /// Ranks that FSDP spreads one copy of the weights over.
  case shard
  /// Ranks that hold the same part of FSDP's copies of the weights.
  case replicas
  /// Ranks that see the same layers' same tokens, or parts of them.
  case tensorContext
  /// The stages of one pipeline, in order.
  case pipeline
  /// Ranks that hold different experts.
  case expert
  /// Ranks that hold different parts of the same experts.
  case expertTensor
  /// Ranks that hold the same parts of the same experts.
  case expertData

  fileprivate func contains(_ other: ParallelCoordinates, with own: ParallelCoordinates) -> Bool {
    let sameStage = other.pipeline == own.pipeline
    switch self {
    case .world: return true
    case .tensor: return sameStage && other.context == own.context && other.data == own.data
    case .context: return sameStage && other.tensor == own.tensor && other.data == own.data
    case .data: return sameStage && other.tensor == own.tensor && other.context == own.context
    case .dataContext: return sameStage && other.tensor == own.tensor
    case .shard: return sameStage && other.tensor == own.tensor && other.replica == own.replica
    case .replicas: return sameStage && other.tensor == own.tensor && other.shard == own.shard
    case .tensorContext: return sameStage && other.data == own.data
    case .pipeline:
      return other.tensor == own.tensor && other.context == own.context && other.data == own.data
    case .expert: return sameStage && other.expertTensor == own.expertTensor && other.expertData == own.expertData
    case .expertTensor: return sameStage && other.expert == own.expert && other.expertData == own.expertData
    case .expertData: return sameStage && other.expertTensor == own.expertTensor && other.expert == own.expert
    }
  }
}

/// Sizes that do not fit together, in one sentence.
public struct LayoutError: Error, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
