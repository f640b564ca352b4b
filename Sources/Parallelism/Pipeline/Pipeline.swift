import Torch

/// One stage's part in running micro-batches through the pipeline. One stage alone is a pipeline too.
public struct Pipeline {
  /// What a stage computes of one micro-batch in one of its chunks.
  /// - Parameter input: the previous stage's output; nil in the first chunk of the first stage.
  /// - Returns: the activations for the next stage; in the last chunk of the last stage the micro-batch's loss, or nil
  ///   where there is none to go back from.
  public typealias Forward = (_ chunk: Int, _ microBatch: Int, _ input: Tensor?) throws -> Tensor?

  private let stage: Int
  private let stageCount: Int
  private let chunkCount: Int
  private let links: PipelineLinks?
  private let dtype: DType
  private let device: Device

  /// - Parameter dtype: of the activations.
  public init(_ parallel: ParallelContext, chunkCount: Int, dtype: DType) {
    (stage, stageCount, links) = (parallel.stage, parallel.stageCount, parallel.pipeline)
    (self.chunkCount, self.dtype, device) = (chunkCount, dtype, parallel.device)
  }

  /// Runs all micro-batches; gradients add up in the leaves.
  /// - Parameter shapes: of each micro-batch's activations, the same on all stages.
  public func run(shapes: [[Int]], forwardOnly: Bool, _ forward: Forward) rethrows {
    let schedule = PipelineSchedule(
      stage: stage, stageCount: stageCount, chunkCount: chunkCount, microBatchCount: shapes.count,
      forwardOnly: forwardOnly)
    var flights = Array(repeating: [Int: Flight](), count: chunkCount)
    // Sent tensors stay with their works until everything is done.
    var sent: [Work] = []
    for action in schedule.actions {
      switch action {
      case .forward(let chunk, let microBatch):
        var input: Tensor?
        if let links, !isFirst(chunk) {
          let received = Tensor.empty(shapes[microBatch], dtype: dtype, device: device)
          links.receiveFromPrevious(into: received)
          received.requiresGrad = !forwardOnly
          input = received
        }
        let output = try forward(chunk, microBatch, input)
        if let links, let output, !isLast(chunk) { sent.append(links.sendToNext(output.detached().contiguous())) }
        if !forwardOnly { flights[chunk][microBatch] = Flight(input: input, output: output) }
      case .backward(let chunk, let microBatch):
        guard let flight = flights[chunk].removeValue(forKey: microBatch) else { continue }
        if let links, !isLast(chunk), let output = flight.output {
          let gradient = Tensor.empty(shapes[microBatch], dtype: dtype, device: device)
          links.receiveFromNext(into: gradient)
          output.backward(gradient: gradient)
        } else {
          flight.output?.backward()
        }
        if let links, let input = flight.input {
          sent.append(links.sendToPrevious((input.grad ?? input.detached().zerosLike()).contiguous()))
        }
      }
      sent.removeAll { $0.isCompleted }
    }
    for work in sent { work.wait() }
  }

  private struct Flight {
    let input: Tensor?
    let output: Tensor?
  }

  private func isFirst(_ chunk: Int) -> Bool { stage == 0 && chunk == 0 }
  private func isLast(_ chunk: Int) -> Bool { stage == stageCount - 1 && chunk == chunkCount - 1 }
}
