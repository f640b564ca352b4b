import Checkpoints
import Foundation
import Inference
import JSON
import Orchestration
import Parallelism
import RLAlgorithms
import TestSupport
import Testing
import Torch
import Training
import WeightSync

/// Models whose weights are divided in every way: odd vocabularies, tied and untied, dense and with experts, constants.
enum UpdateModel: String, CaseIterable, Sendable {
  case dense, tied, experts, tiedExperts, latent, hybrid

  var hasExperts: Bool { self != .dense && self != .tied }

  private var config: JSONObject {
    var config: JSONObject = [
      "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 67, "hidden_size": 32,
      "intermediate_size": 44, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
      "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000, "max_position_embeddings": 128,
      "attention_bias": true, "initializer_range": 0.2, "torch_dtype": "float32",
      "tie_word_embeddings": .bool(self == .tied || self == .tiedExperts),
    ]
    if hasExperts {
      for (key, value) in [
        ("architectures", ["Qwen3MoeForCausalLM"]), ("model_type", "qwen3_moe"), ("num_experts", 6), ("num_experts_per_tok", 2),
        ("moe_intermediate_size", 10), ("decoder_sparse_step", 1), ("norm_topk_prob", true), ("mlp_only_layers", []),
      ] as [(String, JSONValue)] { config[key] = value }
    }
    return config
  }

  /// Writes it with random weights; equal seeds give equal folders.
  func write(to folder: URL, seed: UInt64) throws {
    var config = config
    if self == .latent, case .object(var latent) = try HuggingFaceFolder(fixture("models/deepseek-v3")).config {
      (latent["n_routed_experts"], latent["n_group"], latent["topk_group"], latent["num_hidden_layers"]) = (8, 4, 2, 4)
      config = latent
    }
    // Tensors that several weights share, head by head.
    if self == .hybrid, case .object(let hybrid) = try HuggingFaceFolder(fixture("models/qwen3-next")).config { config = hybrid }
    try writeRandomModel(.object(config), to: folder, seed: seed)
    try FileManager.default.copyItem(
      at: fixture("Tokenization/tokenizers/byte/tokenizer.json"), to: folder.appendingPathComponent("tokenizer.json"))
  }
}

/// One way to divide a trainer over ranks.
struct TrainerLayout: Sendable, CustomTestStringConvertible {
  var name: String
  var ranks: Int
  var backend = TrainBackendKind.megatron
  var tensor = 1
  var pipeline = 1
  var expert = 1
  var shardSize: Int?

  var testDescription: String { name }

  func parallel() throws -> ParallelLayout {
    try ParallelLayout(
      worldSize: ranks, tensorParallelSize: tensor, sequenceParallel: tensor > 1, pipelineParallelSize: pipeline,
      expertParallelSize: expert, shardSize: shardSize)
  }

  static let all = [
    TrainerLayout(name: "1 rank", ranks: 1), TrainerLayout(name: "tp 2", ranks: 2, tensor: 2),
    TrainerLayout(name: "pp 2", ranks: 2, pipeline: 2), TrainerLayout(name: "dp 2", ranks: 2),
    TrainerLayout(name: "tp 2 pp 2", ranks: 4, tensor: 2, pipeline: 2),
    TrainerLayout(name: "ep 2", ranks: 2, expert: 2), TrainerLayout(name: "tp 2 ep 2", ranks: 4, tensor: 2, expert: 2),
    TrainerLayout(name: "fsdp 2", ranks: 2, backend: .fsdp), TrainerLayout(name: "fsdp 4", ranks: 4, backend: .fsdp),
    TrainerLayout(name: "fsdp 4, shards of 2", ranks: 4, backend: .fsdp, shardSize: 2),
    TrainerLayout(name: "fsdp 2 ep 2", ranks: 2, backend: .fsdp, expert: 2),
  ]

  func setup(_ model: URL) throws -> TrainerSetup {
    let options = try TrainingOptions(
      schedule: LearningRateSchedule(peak: 1e-3, decaySteps: 1), globalBatchSize: 1, batching: .fixed(microBatchSize: 1))
    var setup = TrainerSetup(folder: model.path, backend: backend, layout: try parallel(), options: options)
    setup.timeoutSeconds = 30
    return setup
  }
}

/// Ranks of a trainer and engines, each with a thread of its own in this process: what worker processes hold, without the
/// processes.
enum InProcess {
  static func trainers(
    _ layout: TrainerLayout, model: URL, _ adjust: (inout TrainingOptions) -> Void = { _ in }
  ) async throws -> [TrainerActor] {
    let ranks = (0..<layout.ranks).map {
      TrainerActor(actorSystem: ControlPlane(process: ProcessName(WorkerRole.trainer, $0)))
    }
    var setup = try layout.setup(model)
    adjust(&setup.options)
    try await TrainerGroup(ranks).start(
      setup, role: .actor, withRef: false, withOPDTeacher: false,
      devices: Array(repeating: .cpu, count: layout.ranks))
    return ranks
  }

  static func engine(_ number: Int = 0, model: URL, tensor: Int = 1, expert: Int = 1, dtype: DType = .float32) async throws -> EngineActor {
    let engine = EngineActor(actorSystem: ControlPlane(process: ProcessName(WorkerRole.engine, number)))
    try await engine.start(engineSetup(model: model, tensor: tensor, expert: expert, dtype: dtype))
    return engine
  }
}

func engineSetup(model: URL, tensor: Int = 1, expert: Int = 1, dtype: DType = .float32) -> EngineSetup {
  var limits = EngineConfiguration()
  (limits.tensorParallelSize, limits.expertParallelSize, limits.maxTotalTokens) = (tensor, expert, 512)
  return EngineSetup(folder: model.path, dtype: dtype, limits: limits)
}

extension UpdateWeightFromTensor {
  /// - Parameter bufferSize: nil: engines read the trainer's memory in place.
  init(_ trainers: [TrainerActor], _ engines: [EngineActor], bufferSize: Int?) {
    let weights = trainers.map { TrainerWeights($0, timeout: .seconds(60)) }
    self.init(
      sources: bufferSize == nil ? weights : weights.map(BucketedWeights.init),
      targets: engines.map { WorkerEngine($0, weightTimeout: .seconds(60)) }, bufferSize: bufferSize ?? 1)
  }
}

/// The engine's weights are those of a folder, by name and by checksum, bit for bit.
func expectWeights(
  of engine: EngineActor, are folder: URL, dtype: DType = .float32, _ place: String, sourceLocation: SourceLocation = #_sourceLocation
) async throws {
  let files = try HuggingFaceFolder(folder).weights()
  let sums = try await engine.weightChecksums()
  #expect(sums.keys.sorted() == files.names.sorted(), "\(place)", sourceLocation: sourceLocation)
  for name in files.names {
    let found = try await engine.weight(named: name)
    let isConstant = name.hasSuffix("e_score_correction_bias")
    let expected = try files.tensor(name).to(dtype: isConstant ? .float32 : dtype)
    let bytes = expected.withBytes { Data($0) }
    #expect(found?.shape == expected.shape && found?.bytes == bytes, "\(place): \(name)", sourceLocation: sourceLocation)
    #expect(sums[name] == bytes.withUnsafeBytes { XXHash64.hex($0) }, "\(place): \(name)", sourceLocation: sourceLocation)
  }
}

/// A fresh folder that is removed when the value goes.
final class UpdateRoom: Sendable {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)

  func model(_ model: UpdateModel, seed: UInt64) throws -> URL {
    let folder = url.appendingPathComponent("\(model)-\(seed)")
    if !FileManager.default.fileExists(atPath: folder.path) { try model.write(to: folder, seed: seed) }
    return folder
  }

  deinit { try? FileManager.default.removeItem(at: url) }
}
