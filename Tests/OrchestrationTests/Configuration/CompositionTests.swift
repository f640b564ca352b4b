import Orchestration
import Testing

@Suite struct CompositionTests {
  private func configuration(_ change: (inout TrainConfiguration) -> Void = { _ in }) -> TrainConfiguration {
    var configuration = TrainConfiguration()
    (configuration.rollout.batchSize, configuration.rollout.samplesPerPrompt) = (4, 8)
    change(&configuration)
    return configuration
  }

  @Test func schedulesAreSpreadOverTheRun() throws {
    let options = try configuration {
      $0.stepsPerRollout = 2
      ($0.optimizer.learningRate, $0.optimizer.decayStyle, $0.optimizer.warmupFraction) = (1, .linear, 0.25)
    }.trainingOptions(rolloutCount: 10)
    #expect(options.globalBatchSize == 16)
    #expect(options.schedule.warmupSteps == 5)
    #expect(options.schedule.rate(at: 5) == 1 && options.schedule.rate(at: 20) == 0)
  }

  @Test func optionsOfTheAlgorithmReachTheTrainer() throws {
    let options = try configuration {
      ($0.algorithm.clipHigh, $0.algorithm.useTIS, $0.algorithm.tisClip) = (0.28, true, 3)
      $0.rollout.temperature = 0.7
      ($0.backend.useDynamicBatchSize, $0.backend.maxTokensPerGPU) = (true, 512)
    }.trainingOptions(rolloutCount: 1)
    #expect(options.policy.clipLow == 0.2 && options.policy.clipHigh == 0.28)
    #expect(options.importanceBounds?.high == 3)
    #expect(options.temperature == 0.7)
    #expect(options.batching == .dynamic(maxTokensPerDevice: 512))
    #expect(options.klLossCoefficient == nil && !options.needsReference)
  }

  /// The actor's schedule begins when the actor does.
  @Test func aCriticOnlyStartIsNoPartOfTheActorsSchedule() throws {
    let options = try configuration {
      ($0.algorithm.advantageEstimator, $0.critic.onlySteps, $0.critic.lambda) = (.ppo, 4, 0.9)
      ($0.optimizer.learningRate, $0.optimizer.decayStyle) = (1, .linear)
    }.trainingOptions(rolloutCount: 10)
    #expect(options.schedule.decaySteps == 6 && options.lambda == 0.9 && options.policy.estimator == .ppo)
  }

  @Test func lengthsFitTheContext() throws {
    let wide = configuration()
    #expect(wide.sampling(contextLength: 100).maxResponseLength == 100)
    #expect(try wide.datasetOptions(contextLength: 100, maxPromptLength: nil).maximumPromptLength == 99)
    let narrow = configuration { $0.rollout.maxContextLength = 64 }
    #expect(narrow.sampling(contextLength: 100).maxContextLength == 64)
    #expect(try narrow.datasetOptions(contextLength: 100, maxPromptLength: nil).maximumPromptLength == 63)
    #expect(try narrow.datasetOptions(contextLength: 100, maxPromptLength: 20).maximumPromptLength == 20)
  }
}
