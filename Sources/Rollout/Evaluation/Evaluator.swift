import Inference

public struct EvaluationResult: Sendable {
  /// `eval/{name}` and its companions.
  public var metrics: [String: Double]
  /// By dataset name, in the dataset's order.
  public var samples: [String: [Sample]]
}

/// Samples every prompt of the evaluation datasets and scores the responses.
public struct Evaluator: Sendable {
  let engine: any GenerationEngine
  let codec: PromptCodec
  let generator: any SampleGenerator
  let reward: @Sendable (Sample) async throws -> Reward
  /// Most samples in the engine at a time.
  let concurrency: Int
  /// Given: sample j of each prompt is drawn with this plus j as its seed, so that evaluations differ by the weights alone.
  let samplingSeed: Int?

  public init(
    engine: any GenerationEngine, codec: PromptCodec, concurrency: Int = 512, samplingSeed: Int? = nil,
    generator: any SampleGenerator = SingleTurnGenerator(), reward: @escaping @Sendable (Sample) async throws -> Reward
  ) {
    (self.engine, self.codec, self.generator, self.reward) = (engine, codec, generator, reward)
    (self.concurrency, self.samplingSeed) = (concurrency, samplingSeed)
  }

  /// - Parameters:
  ///   - reportsPassRate: Adds `eval/{name}-pass@k`.
  ///   - progress: Called with the number of finished samples of all datasets, and of all samples.
  public func evaluate(
    _ datasets: [EvaluationDataset], reportsPassRate: Bool = false,
    progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) async throws -> EvaluationResult {
    let total = datasets.reduce(0) { $0 + $1.dataset.prompts.count * $1.samplesPerPrompt }
    var result = EvaluationResult(metrics: [:], samples: [:])
    var done = 0
    for dataset in datasets {
      let before = done
      let samples = try await run(dataset) { progress(before + $0, total) }
      done += dataset.dataset.prompts.count * dataset.samplesPerPrompt
      result.samples[dataset.name] = samples
      result.metrics.merge(try Self.metrics(of: samples, dataset, reportsPassRate)) { $1 }
    }
    return result
  }

  private func run(_ dataset: EvaluationDataset, _ progress: (Int) -> Void) async throws -> [Sample] {
    let runner = SampleRunner(
      engine: engine, codec: codec, generator: generator, reward: .each(reward), concurrency: concurrency,
      name: "eval-\(dataset.name)", isEvaluation: true)
    let perPrompt = dataset.samplesPerPrompt
    let seed = samplingSeed.map { base in { @Sendable (sample: Sample) in base + (sample.index ?? 0) % perPrompt } }
    return try await withThrowingTaskGroup(of: [Sample].self) { tasks in
      for (position, prompt) in dataset.dataset.prompts.enumerated() {
        for copy in 0..<perPrompt {
          var sample = prompt
          (sample.groupIndex, sample.index) = (position, position * perPrompt + copy)
          tasks.addTask { [sample] in try await runner.run(group: [sample], sampling: dataset.sampling, seed: seed) }
        }
      }
      var samples: [Sample] = []
      var finished = 0
      for try await group in tasks {
        guard !group.contains(where: { $0.status == .aborted }) else {
          throw SampleError("the evaluation '\(dataset.name)' was aborted by the engine; see the engine's log")
        }
        samples += group
        finished += 1
        progress(finished)
      }
      return samples.sorted { ($0.index ?? 0) < ($1.index ?? 0) }
    }
  }

  static func metrics(
    of samples: [Sample], _ dataset: EvaluationDataset, _ reportsPassRate: Bool
  ) throws -> [String: Double] {
    let name = "eval/" + dataset.name
    let rewards = try samples.map { sample in
      guard let reward = sample.reward else { throw SampleError("a sample of the evaluation '\(dataset.name)' has no reward") }
      return try reward.value(key: dataset.rewardKey)
    }
    var metrics = [
      name: mean(rewards),
      name + "-truncated_ratio": mean(samples.map { $0.status == .truncated ? 1 : 0 }),
    ]
    metrics.merge(statistics(samples.map { Double($0.responseLength) }, name + "/response_len")) { $1 }
    if reportsPassRate {
      for (k, rate) in passRates(rewards, groupIDs: samples.map { $0.groupIndex ?? 0 }) { metrics[name + "-pass@\(k)"] = rate }
    }
    return metrics
  }
}
