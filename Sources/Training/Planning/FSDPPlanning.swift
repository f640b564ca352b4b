import Models
import Parallelism
import Torch

/// One rank's step under FSDP, on the meta device.
func fsdpRank(
  _ configuration: ModelConfiguration, _ options: TrainingOptions, _ work: PlannedWork, _ parallel: ParallelContext,
  _ run: ImaginedRun
) throws -> PlannedRank {
  try FSDPBackend.check(configuration, parallel.layout)
  // What is offloaded is counted apart; real memory is not taken.
  let isOffloaded = options.fsdp.offloadsToHost
  var options = options
  options.fsdp.offloadsToHost = false
  let actor = try FullyShardedCausalLM(configuration, options: options, parallel: parallel)
  let sharded = actor.sharded
  let optimizer = AdamW(sharded.units.map(\.master), options: options.optimizer, precision: options.precision)
  let pack = PackedBatch(
    work.sequences, layout: SequenceLayout(parallel, format: options.sequenceFormat),
    predictionLayers: configuration.predictionLayerCount, device: parallel.device)
  func bytes(_ tensors: [Tensor]) -> Int { tensors.reduce(0) { $0 + $1.byteCount } }
  var gradients: Int { bytes(sharded.units.compactMap(\.gradient)) }
  var result = PlannedRank()
  result.layers = [0..<configuration.layerCount]
  result.parameterCount = actor.model.table.parameters.reduce(0) { $0 + $1.count }
  result.memory.weights = bytes(sharded.weights)
  result.memory.optimizer = bytes(optimizer.state + sharded.units.compactMap(\.master.remainders))
  let resident = run.heldBytes
  var peak = 0
  // Gradients are there from the first micro-batch on.
  for index in 0..<min(work.microBatches, 2) {
    let mark = RunMark(run)
    let isLast = index == min(work.microBatches, 2) - 1
    run.forgetPeak()
    sharded.withRoot {
      sharded.pass {
        let output = actor.output(pack, policy: .actor, isTraining: true, temperature: options.temperature)
        let loss = output.further.reduce(output.head.perToken.sum()) { $0 + $1.sum() }
        if isLast {
          let gathered = sharded.parts.reduce(0) { $0 + $1.gatheredByteCount }
          result.memory.activations = run.heldBytes - resident - gathered - gradients
          result.memory.buffers = gathered
          result.forwardOperations = (run.operations - mark.operations) * Double(work.microBatches)
        }
        loss.backward()
      }
    }
    peak = max(peak, run.peakBytes)
    if isLast { result.add(run, since: mark, times: work.microBatches) }
  }
  result.memory.gradients = gradients
  let known = resident + result.memory.gradients + result.memory.activations + result.memory.buffers
  result.memory.working = max(peak - known, 0)
  // In a step of one micro-batch gradients come as activations go.
  result.memory.activations -= max(known - peak, 0)
  if isOffloaded { result.memory.moveToHost(\.weights, \.gradients, \.optimizer) }
  if parallel.replicas.size > 1 {
    let count = Double(parallel.replicas.size)
    result.sentBytes["replicas"] = 2 * Double(result.memory.gradients) * (count - 1) / count
  }
  return result
}
