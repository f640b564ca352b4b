import Checkpoints
import Foundation
import Inference
import Parallelism
import TestSupport
import Testing
import Torch
import Training

/// An engine and a trainer in deterministic mode compute the same bits.
@Suite(.serialized) struct EngineAndTrainerTests {
  struct Trainer: Sendable, CustomTestStringConvertible {
    var isFSDP = false
    var tensor = 1
    var data = 1
    var pipeline = 1
    var expert = 1
    var tokensPerPack = 300
    var testDescription: String {
      "\(isFSDP ? "fsdp" : "megatron") tp\(tensor) dp\(data) pp\(pipeline) ep\(expert), packs of \(tokensPerPack)"
    }
  }

  /// What an engine samples, many requests at a time, with log-probabilities.
  static func samples(
    _ folder: HuggingFaceFolder, _ dtype: DType, tensor: Int = 1, vocabulary: Int, device: Device = .cpu
  ) async throws -> [GenerateOutput] {
    var options = EngineOptions(dtype: dtype, device: device, pageSize: 4, maxRunningRequests: 10, chunkedPrefillSize: 48)
    (options.tensorParallelSize, options.isDeterministic, options.collectiveTimeout) = (tensor, true, .seconds(60))
    let engine = try Engine(folder: folder, tokenizer: nil, options: options)
    var outputs = [GenerateOutput?](repeating: nil, count: 14)
    try await withThrowingTaskGroup(of: (Int, GenerateOutput).self) { group in
      for i in outputs.indices {
        var sampling = SamplingParameters()
        (sampling.maxNewTokens, sampling.ignoreEOS, sampling.samplingSeed) = (8 + i * 5, true, i)
        let request = GenerateRequest(
          id: "\(i)", tokens: prompt(i, vocabulary), sampling: sampling, returnLogProbs: true, logProbStart: 0)
        group.addTask { (i, try await engine.generate(request)) }
      }
      for try await (i, output) in group { outputs[i] = output }
    }
    return outputs.map { $0! }
  }

  static func prompt(_ i: Int, _ vocabulary: Int) -> [Int] {
    (0..<1 + i * 9).map { (($0 * 5 + i) * ($0 + 3)) % vocabulary }
  }

  static func scores(
    _ url: URL, _ trainer: Trainer, _ dtype: DType, _ sequences: [[Int32]], device: Device = .cpu
  ) async throws -> [ScoredSequence] {
    let layout = try ParallelLayout(
      worldSize: trainer.tensor * trainer.data * trainer.pipeline, tensorParallelSize: trainer.tensor,
      sequenceParallel: trainer.tensor > 1, pipelineParallelSize: trainer.pipeline, expertParallelSize: trainer.expert)
    return try await runRanks(layout.worldSize) { rank, store in
      let parallel = try ParallelContext(layout, rank: rank, device: device) {
        try .gloo($0, store: store, rank: $1, size: $2, timeout: .seconds(30))
      }
      var options = try TrainingOptions(
        schedule: LearningRateSchedule(peak: 0, decaySteps: 1), globalBatchSize: 1, batching: .fixed(microBatchSize: 1))
      (options.computeType, options.isDeterministic) = (dtype, true)
      let folder = try HuggingFaceFolder(url)
      let backend: any TrainBackend = trainer.isFSDP
        ? try FSDPBackend(folder, options: options, parallel: parallel)
        : try MegatronBackend(folder, options: options, parallel: parallel)
      return try PolicyTrainer(backend, options: options).score(sequences, tokensPerPack: trainer.tokensPerPack)
    }.joined().sorted { $0.index < $1.index }
  }

  @Test(arguments: ["llama3-gqa", "qwen2", "qwen3-tied", "qwen3-moe", "qwen2-moe", "deepseek-v3", "glm4-moe"], [DType.float32, .bfloat16])
  func trainersComputeWhatTheEngineSampledWith(_ name: String, dtype: DType) async throws {
    let url = fixture("models/\(name)")
    let folder = try HuggingFaceFolder(url)
    let vocabulary = try #require(folder.config["vocab_size"]?.int)
    let layers = try #require(folder.config["num_hidden_layers"]?.int)
    for tensor in [1, 2] {
      let outputs = try await Self.samples(folder, dtype, tensor: tensor, vocabulary: vocabulary)
      let sequences = outputs.enumerated().map { i, output in
        (Self.prompt(i, vocabulary) + output.outputTokens).map { Int32($0) }
      }
      let wanted = outputs.map { ($0.inputLogProbs.dropFirst() + $0.outputLogProbs).map { $0.logProb!.bitPattern } }
      let trainers = tensor == 1
        ? [
          Trainer(), Trainer(data: 2, tokensPerPack: 90), Trainer(isFSDP: true, data: 2), Trainer(isFSDP: true, tokensPerPack: 1),
        ] + (layers % 2 == 0 ? [Trainer(pipeline: 2)] : [])
        : [Trainer(tensor: 2), Trainer(tensor: 2, data: 2, tokensPerPack: 90)]
      for trainer in trainers {
        let scores = try await Self.scores(url, trainer, dtype, sequences)
        #expect(scores.map { $0.logProbs.map(\.bitPattern) } == wanted, "\(trainer.testDescription)")
      }
    }
  }

  /// Rollouts and steps by turns, at a temperature: what training measures between engine and trainer is 0, since each
  /// computes the other's bits.
  @Test(arguments: ["qwen3-tied", "qwen3-moe"], [DType.float32, .bfloat16])
  func theDifferenceInTrainingIsZero(_ name: String, dtype: DType) async throws {
    let url = fixture("models/\(name)")
    let vocabulary = try #require(HuggingFaceFolder(url).config["vocab_size"]?.int)
    let differences = try await Self.train(url, dtype, vocabulary: vocabulary, isDeterministic: true)
    #expect(differences == [0, 0, 0])
    if dtype == .float32 {
      let ordinary = try await Self.train(url, dtype, vocabulary: vocabulary, isDeterministic: false)
      #expect(ordinary.count == 3 && ordinary.contains { $0 > 0 }, "\(ordinary)")
    }
  }

  /// - Returns: `train_rollout_logprob_abs_diff` of each step.
  static func train(
    _ url: URL, _ dtype: DType, vocabulary: Int, isDeterministic: Bool, device: Device = .cpu
  ) async throws -> [Double] {
    let temperature = 0.8
    var engineOptions = EngineOptions(dtype: dtype, device: device, pageSize: 4, maxRunningRequests: 10, chunkedPrefillSize: 48)
    engineOptions.isDeterministic = isDeterministic
    let engine = try Engine(folder: HuggingFaceFolder(url), tokenizer: nil, options: engineOptions)
    var options = try TrainingOptions(
      schedule: LearningRateSchedule(peak: 1e-2, decaySteps: 100), globalBatchSize: 8, batching: .dynamic(maxTokensPerDevice: 150))
    (options.computeType, options.isDeterministic, options.temperature) = (dtype, isDeterministic, temperature)
    let trainer = PolicyTrainer(
      try FSDPBackend(HuggingFaceFolder(url), options: options, parallel: .single(device)), options: options)
    var differences: [Double] = []
    for rollout in 0..<3 {
      let outputs = try await rollOut(engine, rollout, vocabulary, temperature)
      var batch = TrainBatch(rolloutID: rollout)
      batch.rolloutLogProbs = []
      for (i, output) in outputs.enumerated() {
        let (tokens, count) = (prompt(i, vocabulary) + output.outputTokens, output.outputTokens.count)
        batch.tokens += tokens.map { Int32($0) }
        batch.totalLengths.append(Int32(tokens.count))
        batch.responseLengths.append(Int32(count))
        batch.lossMasks += Array(repeating: 1, count: count)
        batch.rolloutMaskSums.append(Int32(count))
        batch.rolloutLogProbs! += output.outputLogProbs.map { $0.logProb! }
        batch.rawRewards.append(i % 2 == 0 ? 1 : -1)
        batch.rewards.append(i % 2 == 0 ? 1 : -1)
        for path in [\TrainBatch.groupIDs, \.rolloutIDs, \.sampleIndices] { batch[keyPath: path].append(i) }
        batch.truncated.append(false)
        batch.weightVersions.append("\(rollout)")
      }
      let report = try trainer.train(batch)
      differences += report.steps.map { $0["train_rollout_logprob_abs_diff"]! }
      var weights: [NamedBytes] = []
      try catchingTorchErrors {
        try trainer.backend.forEachWeight { name, tensor in
          weights.append(NamedBytes(name, dtype: .float32, shape: tensor.shape, bytes: tensor.contiguous().withBytes { Data($0) }))
        }
      }
      try await engine.beginWeightUpdate()
      try await engine.updateWeights(weights)
      try await engine.endWeightUpdate(version: "\(rollout)")
    }
    return differences
  }

  private static func rollOut(
    _ engine: Engine, _ rollout: Int, _ vocabulary: Int, _ temperature: Double
  ) async throws -> [GenerateOutput] {
    try await withThrowingTaskGroup(of: (Int, GenerateOutput).self) { group in
      for i in 0..<8 {
        var sampling = SamplingParameters()
        (sampling.maxNewTokens, sampling.ignoreEOS, sampling.samplingSeed) = (8 + i * 5, true, rollout * 8 + i)
        sampling.temperature = temperature
        let request = GenerateRequest(
          id: "\(rollout) \(i)", tokens: prompt(i, vocabulary), sampling: sampling, returnLogProbs: true)
        group.addTask { (i, try await engine.generate(request)) }
      }
      var outputs = [GenerateOutput?](repeating: nil, count: 8)
      for try await (i, output) in group { outputs[i] = output }
      return outputs.map { $0! }
    }
  }
}
