/// What one stage of a pipeline does, in order.
///
/// Without virtual stages: 1F1B (Narayanan et al., "PipeDream-Flush", 2021). With several chunks of layers a stage:
/// interleaved 1F1B (Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters", 2021), with the
/// warm-up lengths of Megatron-Core.
public struct PipelineSchedule: Sendable, Equatable {
  public enum Action: Sendable, Equatable {
    case forward(chunk: Int, microBatch: Int)
    case backward(chunk: Int, microBatch: Int)
  }

  public let actions: [Action]

  /// - Parameters:
  ///   - chunkCount: chunks of layers on each stage; the micro-batches must be a multiple of the stages if several.
  ///   - forwardOnly: no backward passes.
  public init(stage: Int, stageCount: Int, chunkCount: Int = 1, microBatchCount: Int, forwardOnly: Bool = false) {
    precondition(chunkCount == 1 || microBatchCount % stageCount == 0, "micro-batches come in groups of \(stageCount)")
    let total = microBatchCount * chunkCount
    /// The k-th forward pass: groups of as many micro-batches as stages go through all chunks one after another.
    func order(_ k: Int) -> (chunk: Int, microBatch: Int) {
      guard chunkCount > 1 else { return (0, k) }
      let (group, place) = (k / (stageCount * chunkCount), k % (stageCount * chunkCount))
      return (place / stageCount, group * stageCount + place % stageCount)
    }
    func forward(_ k: Int) -> Action { .forward(chunk: order(k).chunk, microBatch: order(k).microBatch) }
    func backward(_ k: Int) -> Action {
      .backward(chunk: chunkCount - 1 - order(k).chunk, microBatch: order(k).microBatch)
    }
    guard !forwardOnly else {
      actions = (0..<total).map(forward)
      return
    }
    let depth = stageCount - 1 - stage
    let warmUp = min(total, chunkCount == 1 ? depth : 2 * depth + (chunkCount - 1) * stageCount)
    actions = (0..<warmUp).map(forward)
      + (0..<total - warmUp).flatMap { [forward(warmUp + $0), backward($0)] }
      + (total - warmUp..<total).map(backward)
  }
}
