import JSON
import Models
import Parallelism
import Testing
import Torch
import Training

/// Plans against what is really built, on the CPU.
@Suite struct RankPlanTests: PlanTesting {
  private static func layouts() throws -> [(JSONValue, ParallelLayout)] {
    let dense = [
      try ParallelLayout(worldSize: 1), try ParallelLayout(worldSize: 2, tensorParallelSize: 2),
      try ParallelLayout(worldSize: 2, contextParallelSize: 2),
      try ParallelLayout(worldSize: 8, tensorParallelSize: 2, sequenceParallel: true, pipelineParallelSize: 2),
    ]
    let mixture = [
      try ParallelLayout(worldSize: 1), try ParallelLayout(worldSize: 4, expertParallelSize: 2),
      try ParallelLayout(
        worldSize: 4, tensorParallelSize: 2, sequenceParallel: true, expertParallelSize: 2, expertTensorParallelSize: 2),
    ]
    return dense.map { (PlannedModels.dense, $0) } + dense[1...2].map { (PlannedModels.hybrid, $0) } + mixture.map { (PlannedModels.mixture, $0) }
  }

  private static let low = {
    var precision = OptimizerPrecision()
    precision.keepsRemainders = true
    (precision.gradients, precision.firstMoments, precision.secondMoments) = (.bfloat16, .bfloat16, .bfloat16)
    return precision
  }()

  /// Every rank holds what the real optimizer allocates for it, byte for byte.
  @Test func residentMemoryIsThatOfTheRealOptimizer() throws {
    for (json, layout) in try Self.layouts() {
      let model = try model(json)
      for (dtype, precision) in [(DType.float32, OptimizerPrecision()), (.bfloat16, OptimizerPrecision()), (.bfloat16, Self.low)] {
        var options = try options(dtype)
        options.precision = precision
        for rank in 0..<layout.worldSize {
          let plan = try PlannedRank(
            model, layout: layout, rank: rank, backend: .megatron, options: options, work: work(layout), device: .cpu)
          let parallel = try ParallelContext(layout, rank: rank, device: .cpu, sharing: false) {
            .imagined($0, rank: $1, size: $2)
          }
          let stages = layout.pipelineParallelSize
          let perStage = model.layerCount / stages
          let stage = ModelStage(
            layers: parallel.stage * perStage..<(parallel.stage + 1) * perStage, holdsEmbedding: parallel.stage == 0,
            holdsHead: parallel.stage == stages - 1)
          let real = try CausalLM(model, parallel: parallel, stage: stage, dtype: dtype)
          var optimizerOptions = DistributedOptimizer.Options()
          (optimizerOptions.computeType, optimizerOptions.precision) = (dtype, precision)
          let optimizer = DistributedOptimizer(
            real.table.parameters, tied: nil, options: optimizerOptions, parallel: parallel)
          func bytes(_ tensors: [Tensor]) -> Int { tensors.reduce(0) { $0 + $1.byteCount } }
          let place: Comment = "\(layout) rank \(rank) \(dtype) \(precision)"
          #expect(plan.parameterCount == real.table.parameters.reduce(0) { $0 + $1.count }, place)
          #expect(plan.memory.weights == bytes(optimizer.weights), place)
          #expect(plan.memory.gradients == bytes(optimizer.buffers.map(\.gradients)), place)
          let masters = optimizer.buffers.filter { !$0.master.values.sharesStorage(with: $0.weights) }.map(\.master.values)
          let moments = optimizer.optimizers.flatMap { $0.firstMoments + $0.secondMoments + $0.steps }
          #expect(plan.memory.optimizer == bytes(masters + moments + optimizer.buffers.compactMap(\.master.remainders)), place)
          if precision == Self.low, layout.worldSize == 1 {
            #expect(plan.memory.state == 10 * plan.memory.weights / 2 + 4 * optimizer.optimizers.count, place)
          }
          #expect(plan.memory.activations > 0 && plan.operations > 0, place)
        }
      }
    }
  }

  @Test func shardsAreThoseOfFSDP() throws {
    let (model, layout) = (try model(PlannedModels.dense), try ParallelLayout(worldSize: 4))
    let plan = try PlannedRank(
      model, layout: layout, rank: 1, backend: .fsdp, options: options(.bfloat16), work: work(layout), device: .cpu)
    let parallel = try ParallelContext(layout, rank: 1, device: .cpu, sharing: false) { .imagined($0, rank: $1, size: $2) }
    let real = try CausalLM(model, parallel: parallel, dtype: .bfloat16)
    var sharding = FullyShardedModel.Options()
    sharding.computeType = .bfloat16
    let blocks = real.parametersByBlock
    let sharded = FullyShardedModel(root: blocks.root, blocks: blocks.blocks, options: sharding, parallel: parallel)
    let bytes = sharded.shards.reduce(0) { $0 + $1.byteCount }
    #expect(plan.memory.weights == bytes && plan.memory.gradients == bytes)
    #expect(plan.memory.optimizer == 2 * bytes + 4 * sharded.shards.count)
    #expect(plan.memory.buffers > 0 && plan.sentBytes["shard"] ?? 0 > 0)
    var options = try options(.bfloat16)
    options.precision = Self.low
    let low = try PlannedRank(
      model, layout: layout, rank: 1, backend: .fsdp, options: options, work: work(layout), device: .cpu).memory
    #expect(low.weights == bytes / 2 && low.gradients == bytes / 2)
    #expect(low.optimizer == 3 * bytes / 2 + 4 * sharded.shards.count)
  }

  /// On a GPU a layer keeps, of each token in bf16: two sums, the fused projection, what attention says with its
  /// log-sum-exps in fp32, and gate and up projections. Norms, turned heads and products are made again from them.
  @Test func whatIsMadeAgainIsNotKept() throws {
    func activations(layers: Int, _ backend: PlannedBackend) throws -> Int {
      guard case .object(var json) = PlannedModels.dense else { return 0 }
      (json["num_hidden_layers"], json["head_dim"]) = (.int(layers), 32)
      let layout = try ParallelLayout(worldSize: 1)
      return try PlannedRank(
        model(.object(json)), layout: layout, rank: 0, backend: backend, options: options(.bfloat16), work: work(layout),
        device: .cuda).memory.activations
    }
    let (tokens, hidden, heads, keyValueHeads, dimension, inner) = (64, 32, 4, 2, 32, 48)
    let numbers = 2 * hidden + (heads + 2 * keyValueHeads) * dimension + heads * dimension + 2 * inner
    let expected = 2 * tokens * (2 * numbers + 4 * heads)
    for backend in [PlannedBackend.megatron, .fsdp] {
      let found = try activations(layers: 4, backend) - activations(layers: 2, backend)
      #expect(abs(Double(found) / Double(expected) - 1) < 0.02, "\(found) bytes of two layers, not \(expected)")
    }
  }

  /// Forward products of every weight matrix, of the scores and of their values; backward twice and 2.5 times as much.
  @Test func operationsAreThoseOfTheShapes() throws {
    let (model, layout) = (try model(PlannedModels.dense), try ParallelLayout(worldSize: 1))
    let plan = try PlannedRank(
      model, layout: layout, rank: 0, backend: .megatron, options: options(), work: work(layout), device: .cpu)
    let (tokens, sequences, length) = (64.0, 2.0, 32.0)
    let (hidden, inner, query, keys, vocabulary) = (32.0, 48.0, 32.0, 16.0, 67.0)
    let layer = 2 * tokens * hidden * (query + 2 * keys + query + 3 * inner)
    let attention = sequences * length * length / 2 * 4 * query
    // The last token of each sequence predicts nothing.
    let head = 2 * (tokens - sequences) * hidden * vocabulary
    #expect(plan.forwardOperations == 4 * (4 * (layer + attention) + head))
    #expect(plan.operations == 4 * (4 * (3 * layer + 3.5 * attention) + 3 * head))
  }

  @Test(arguments: [(PlannedModels.dense, false), (PlannedModels.dense, true), (PlannedModels.hybrid, false)])
  func activationsAreThoseHeldOnTheCPU(_ json: JSONValue, recomputes: Bool) throws {
    let (model, layout) = (try model(json), try ParallelLayout(worldSize: 1))
    var options = try options()
    if recomputes { options.megatron.recomputation = .uniform(layers: 1) }
    let plan = try PlannedRank(
      model, layout: layout, rank: 0, backend: .megatron, options: options, work: work(layout, length: 256), device: .cpu)
    let run = ImaginedRun(on: .cpu)
    let (held, peak) = try run {
      try catchingTorchErrors {
        let parallel = ParallelContext.single()
        let real = try CausalLM(model, parallel: parallel, dtype: .float32)
        _ = DistributedOptimizer(real.table.parameters, tied: nil, options: .init(), parallel: parallel)
        let lengths = [256, 256]
        let context = ForwardContext(
          positions: Tensor(lengths.flatMap { Array(0..<$0) }),
          attention: PackedAttention(lengths: lengths, device: .cpu, implementation: .sdpa),
          runner: RecomputingRunner(options.megatron.recomputation))
        let tokens = Tensor([Int](repeating: 0, count: 512))
        let rows = Tensor((0..<512).filter { $0 % 256 != 255 })
        let targets = Tensor([Int](repeating: 1, count: 510))
        let before = run.hostBytes
        run.forgetPeak()
        let loss = real.statistics(real.hidden(tokens, context), at: rows, targets: targets, temperature: 1).logProbs.sum()
        let held = run.hostBytes - before
        loss.backward()
        return (held, run.hostPeakBytes - before)
      }
    }
    #expect(abs(Double(held) / Double(plan.memory.activations) - 1) < 0.005, "\(held), not \(plan.memory.activations)")
    let planned = plan.memory.activations + plan.memory.working
    #expect(abs(Double(peak) / Double(planned) - 1) < 0.05, "at most \(peak), planned \(planned)")
  }

  /// What tensor parallelism and the pipeline send, by hand: four sums a layer, one for the embedding and one for the head.
  @Test func messagesAreThoseOfTheCollectives() throws {
    let model = try model(PlannedModels.dense)
    func sent(_ layout: ParallelLayout) throws -> [String: Double] {
      try PlannedRank(
        model, layout: layout, rank: 0, backend: .megatron, options: options(), work: work(layout), device: .cpu).sentBytes
    }
    let activations = 64.0 * 32 * 4
    let tensor = try sent(try ParallelLayout(worldSize: 2, tensorParallelSize: 2))["tensor"] ?? 0
    // Four micro-batches; log-probs send five numbers a token besides.
    let expected = 4 * (4 * 4 + 2) * activations
    #expect(tensor >= expected && tensor <= expected + 4 * 64 * 5 * 4, "\(tensor), not \(expected)")
    let pipeline = try sent(try ParallelLayout(worldSize: 2, pipelineParallelSize: 2))
    #expect(pipeline["pipeline"] == 4 * activations)
    let data = try sent(try ParallelLayout(worldSize: 2))
    let count = try CausalLM(model, parallel: .imagined(ParallelLayout(worldSize: 1), rank: 0), dtype: .float32)
      .table.parameters.reduce(0) { $0 + $1.count }
    // Half of the gradients and half of the weights, in fp32.
    #expect(abs((data["dataContext"] ?? 0) - Double(count * 4)) <= 16)
  }
}
