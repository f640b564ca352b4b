import JSON
import Parallelism
import Testing
import Torch
import Training

@Suite struct LaunchKindsPlanTests: PlanTesting {
  /// Whatever can be trained can be planned, on both devices.
  @Test func everyKindOfLaunchCanBePlanned() throws {
    var pairs: [(JSONValue, ParallelLayout, PlannedBackend, TrainingOptions)] = []
    for json in [PlannedModels.dense, PlannedModels.mixture, PlannedModels.latent] {
      for dtype in [DType.float32, .bfloat16] {
        let plain = try options(dtype)
        var (padded, block, selective, virtual, checkpointing) = (plain, plain, plain, plain, plain)
        padded.sequenceFormat = .padded
        block.megatron.recomputation = .block(layers: 1)
        selective.megatron.recomputation = .selective
        virtual.megatron.layersPerVirtualStage = 1
        checkpointing.gradientCheckpointing = true
        let (one, context) = (try ParallelLayout(worldSize: 1), try ParallelLayout(worldSize: 4, contextParallelSize: 2))
        for options in [plain, padded, block, selective] {
          pairs.append((json, one, .megatron, options))
          pairs.append((json, context, .megatron, options))
        }
        let stages = try ParallelLayout(worldSize: 2, pipelineParallelSize: 2)
        pairs.append((json, stages, .megatron, json == PlannedModels.dense ? virtual : plain))
        for options in [plain, checkpointing] {
          pairs.append((json, one, .fsdp, options))
          pairs.append((json, context, .fsdp, options))
          pairs.append((json, try ParallelLayout(worldSize: 4, shardSize: 2), .fsdp, options))
        }
      }
    }
    for (json, layout, backend, options) in pairs {
      for device in [Device.Kind.cpu, .cuda] {
        let plan = try PlannedRank(
          model(json), layout: layout, rank: layout.worldSize - 1, backend: backend, options: options,
          work: work(layout), device: device)
        let memory = plan.memory
        #expect(memory.weights > 0 && memory.gradients > 0 && memory.activations > 0 && memory.working >= 0)
        #expect(plan.operations > plan.forwardOperations && plan.forwardOperations > 0)
        if layout.contextParallelSize > 1 { #expect(plan.sentBytes["context"] ?? 0 > 0) }
      }
    }
  }
}
