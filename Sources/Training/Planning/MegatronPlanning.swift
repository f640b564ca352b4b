import Models
import Parallelism
import Torch

/// One rank's step under Megatron parallelism, on the meta device.
struct MegatronPlanning {
  private let parallel: ParallelContext
  private let work: PlannedWork
  private let options: TrainingOptions
  private let run: ImaginedRun
  private let chunks: [CausalLM]
  private let optimizer: DistributedOptimizer
  private let pack: PackedBatch
  private let attention: AttentionImplementation

  /// What one micro-batch takes of memory in one chunk of layers.
  private struct Flight {
    /// Between its forward and its backward pass.
    var kept = 0
    /// Most during each of them, what is kept included.
    var forwardPeak = 0
    var backwardPeak = 0
  }

  init(
    _ configuration: ModelConfiguration, _ options: TrainingOptions, _ work: PlannedWork, _ parallel: ParallelContext,
    _ run: ImaginedRun
  ) throws {
    (self.parallel, self.work, self.options, self.run) = (parallel, work, options, run)
    attention = try options.attention(of: configuration, parallel)
    chunks = try StagePlan(configuration, parallel.layout, options.megatron)
      .models(configuration, parallel, dtype: options.computeType)
    var optimizerOptions = DistributedOptimizer.Options()
    (optimizerOptions.computeType, optimizerOptions.precision) = (options.computeType, options.precision)
    optimizerOptions.offloadsToHost = options.megatron.offloadsOptimizer
    optimizer = DistributedOptimizer(
      chunks.flatMap(\.table.parameters), tied: chunks.lazy.compactMap(\.sharedWithOtherStage).first,
      options: optimizerOptions, parallel: parallel)
    pack = PackedBatch(
      work.sequences, layout: SequenceLayout(parallel, format: options.sequenceFormat),
      predictionLayers: configuration.predictionLayerCount, device: parallel.device)
  }

  func rank() throws -> PlannedRank {
    var result = PlannedRank()
    result.layers = chunks.map(\.stage.layers)
    result.parameterCount = chunks.flatMap(\.table.parameters).reduce(0) { $0 + $1.count }
    result.memory = resident
    let flights = chunks.map { measure($0, &result) }
    addSchedule(flights, to: &result.memory)
    addOptimizerStep(to: &result)
    return result
  }

  /// What is there all the time.
  private var resident: PlannedMemory {
    var memory = PlannedMemory()
    memory.weights = optimizer.weights.reduce(0) { $0 + $1.byteCount }
    if parallel.stage > 0, let copy = embeddingForPrediction { memory.weights += copy.tensor.byteCount }
    for (buffer, adam) in zip(optimizer.buffers, optimizer.optimizers) {
      memory.gradients += buffer.gradients.byteCount
      memory.optimizer += buffer.masterByteCount + adam.state.reduce(0) { $0 + $1.byteCount }
    }
    if options.megatron.offloadsOptimizer { memory.moveToHost(\.optimizer) }
    return memory
  }

  private var embeddingForPrediction: Parameter? { chunks.lazy.compactMap(\.embeddingForPrediction).first }

  /// Runs one micro-batch through a chunk.
  private func measure(_ chunk: CausalLM, _ result: inout PlannedRank) -> Flight {
    var flight = Flight()
    let mark = RunMark(run)
    let before = run.heldBytes
    run.forgetPeak()
    var input: Tensor?
    if !chunk.stage.holdsEmbedding {
      let rows = pack.tokenCount / (parallel.sequenceParallel ? parallel.tensor.size : 1)
      input = Tensor.empty([rows, chunk.configuration.hiddenSize], dtype: options.computeType, device: .meta)
      input?.requiresGrad = true
    }
    let context = pack.context(
      chunk, isTraining: true, runner: RecomputingRunner(options.megatron.recomputation), implementation: attention,
      recomputesAttention: options.megatron.recomputation == .selective)
    var output = chunk.hidden(input ?? pack.tokens, context)
    if chunk.stage.holdsHead {
      let loss = chunk.output(
        output, at: pack.predicting, targets: pack.targets, temperature: options.temperature).perToken.sum()
      output = chunk.furtherLogProbs(output, pack, context).reduce(loss) { $0 + $1.sum() }
    } else {
      _ = parallel.pipeline?.sendToNext(output.detached())
    }
    flight.kept = run.heldBytes - before
    flight.forwardPeak = run.peakBytes - before
    let forward = (run.operations - mark.operations) * Double(work.microBatches)
    run.forgetPeak()
    output.backward(gradient: output.detached().zerosLike())
    if let gradient = input?.grad { _ = parallel.pipeline?.sendToPrevious(gradient) }
    flight.backwardPeak = run.peakBytes - before
    result.forwardOperations += forward
    result.add(run, since: mark, times: work.microBatches)
    return flight
  }

  /// What the micro-batches in flight keep, and what the one at work needs besides where all together are most.
  private func addSchedule(_ flights: [Flight], to memory: inout PlannedMemory) {
    let schedule = PipelineSchedule(
      stage: parallel.stage, stageCount: parallel.stageCount, chunkCount: chunks.count,
      microBatchCount: work.microBatches, forwardOnly: false)
    var (kept, most) = (0, 0)
    for action in schedule.actions {
      switch action {
      case .forward(let chunk, _):
        most = max(most, kept + flights[chunk].forwardPeak)
        kept += flights[chunk].kept
        memory.activations = max(memory.activations, kept)
      case .backward(let chunk, _):
        kept -= flights[chunk].kept
        most = max(most, kept + flights[chunk].backwardPeak)
      }
    }
    memory.working = max(most - memory.activations, 0)
  }

  /// Gradients are reduced and weights gathered when no activations are left.
  private func addOptimizerStep(to result: inout PlannedRank) {
    var (reduced, cast) = (0, 0)
    let gradientSize = options.precision.gradients.size
    for buffer in optimizer.buffers where buffer.group.size > 1 {
      let others = Double(buffer.group.size - 1)
      let own = buffer.ownRange.count
      reduced += own * gradientSize
      if options.computeType != .float32 { cast = max(cast, own * options.computeType.size) }
      let kind = String(buffer.group.name.prefix { $0 != " " })
      result.sentBytes[kind, default: 0] += others * Double(own * (gradientSize + options.computeType.size))
    }
    if let tied = chunks.lazy.compactMap(\.sharedWithOtherStage).first {
      result.sentBytes["embedding", default: 0] += Double(tied.count * gradientSize)
    }
    if parallel.stage == 0, let embedding = embeddingForPrediction {
      result.sentBytes["embedding", default: 0] += Double(embedding.tensor.byteCount)
    }
    let duringPasses = result.memory.activations + result.memory.working
    result.memory.buffers = max(reduced + cast - duringPasses, 0)
  }
}
