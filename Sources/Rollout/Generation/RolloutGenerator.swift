import Foundation
import Inference

public struct RolloutConfiguration: Sendable {
  /// Groups a rollout.
  public var rolloutBatchSize: Int
  /// Groups asked for at a time, at least `rolloutBatchSize`.
  public var overSamplingBatchSize: Int
  /// Most samples in the engine at a time.
  public var concurrency = 512
  public var sampling: RolloutSampling
  /// Given: each sample is drawn with this plus its index as the seed, so that it does not depend on what runs beside it.
  public var samplingSeed: Int?
  public var filter: DynamicSamplingFilter?
  public var rewardKey: String?
  /// Aborted responses are kept and continued in a later rollout; otherwise they are begun anew there.
  public var partialRollout = false
  /// Tokens from before the continuation are not trained on.
  public var masksOffPolicyTokens = false

  public init(rolloutBatchSize: Int, sampling: RolloutSampling) {
    (self.rolloutBatchSize, overSamplingBatchSize) = (rolloutBatchSize, rolloutBatchSize)
    self.sampling = sampling
  }
}

/// How far a rollout is, for a progress display.
public struct RolloutProgress: Sendable, Equatable {
  public var keptGroups = 0
  public var wantedGroups: Int
  public var droppedGroups = 0
  public var generatedTokens = 0
}

public struct RolloutResult: Sendable {
  public var rolloutID: Int
  /// `rolloutBatchSize` groups, in the order of their index.
  public var groups: [[Sample]]
  /// How many groups the filter dropped, by reason.
  public var dropped: [String: Int]
  /// Groups that went back to the data source: finished ones, and aborted ones.
  public var surplusGroups: Int
  public var abortedGroups: Int
  public var seconds: Double
  /// Of these, in which samples were generated, and in which none was but rewards were waited for.
  public var generationSeconds = 0.0
  public var rewardSeconds = 0.0

  public var samples: [Sample] { groups.flatMap { $0 } }
}

/// Samples groups until enough are worth training on.
public struct RolloutGenerator: Sendable {
  public var configuration: RolloutConfiguration
  let engine: any GenerationEngine
  let codec: PromptCodec
  let generator: any SampleGenerator
  let reward: RewardCall

  public init(
    configuration: RolloutConfiguration, engine: any GenerationEngine, codec: PromptCodec, reward: RewardCall,
    generator: any SampleGenerator = SingleTurnGenerator()
  ) {
    (self.configuration, self.engine, self.codec) = (configuration, engine, codec)
    (self.reward, self.generator) = (reward, generator)
  }

  /// One rollout. As soon as enough groups are kept the rest is aborted; finished groups beyond them, and the aborted ones,
  /// go back to the source, so that no prompt is lost and long responses are not selected against.
  public func generate(
    rolloutID: Int, from source: any DataSource, progress: @escaping @Sendable (RolloutProgress) -> Void = { _ in }
  ) async throws -> RolloutResult {
    let clock = ContinuousClock()
    let began = clock.now
    let runner = SampleRunner(
      engine: engine, codec: codec, generator: generator, reward: reward, concurrency: configuration.concurrency,
      name: "rollout\(rolloutID)")
    let wanted = configuration.rolloutBatchSize
    var state = RolloutProgress(wantedGroups: wanted)
    var result = RolloutResult(rolloutID: rolloutID, groups: [], dropped: [:], surplusGroups: 0, abortedGroups: 0, seconds: 0)
    var returned: [[Sample]] = []

    try await withThrowingTaskGroup(of: Outcome.self) { tasks in
      var running = 0
      /// Files a finished group; false when it was aborted.
      func file(_ outcome: Outcome) throws -> Bool {
        let group = outcome.samples
        if group.contains(where: { $0.status == .aborted }) { return false }
        state.generatedTokens += group.reduce(0) { $0 + $1.responseLength }
        if case .drop(let reason) = try configuration.filter?.decide(group, configuration.rewardKey) ?? .keep {
          result.dropped[reason, default: 0] += 1
          state.droppedGroups += 1
          if result.groups.isEmpty, state.droppedGroups >= Self.fruitlessRounds * wanted {
            throw SampleError(
              "the dynamic sampling filter dropped each of \(state.droppedGroups) groups in rollout \(rolloutID) (\(reason)); "
                + "the model solves all of these prompts or none: give it others, or leave --dynamic-sampling-filter-path out")
          }
        } else {
          result.groups.append(group)
          state.keptGroups = min(result.groups.count, wanted)
        }
        progress(state)
        return true
      }
      while result.groups.count < wanted {
        while running + result.groups.count < wanted {
          let groups = try await source.groups(max(configuration.overSamplingBatchSize, wanted))
          for group in groups { start(group, with: runner, in: &tasks) }
          running += groups.count
        }
        guard let outcome = try await tasks.next() else { break }
        running -= 1
        guard try file(outcome) else {
          throw SampleError(
            "sample \(outcome.submitted[0].index ?? 0) was aborted by the engine while its rollout was running; "
              + "see the engine's log")
        }
      }
      guard running > 0 else { return }
      // Cancelled and waited for at the end of this scope, so that no abort reaches what runs after the rollout.
      async let _ = runner.abort()
      while let outcome = try await tasks.next() {
        if try !file(outcome) { returned.append(kept(of: outcome, rolloutID)) }
      }
    }

    let surplus = result.groups.dropFirst(wanted).sorted(by: Self.byIndex)
    result.groups = result.groups.prefix(wanted).sorted(by: Self.byIndex)
    result.surplusGroups = surplus.count
    result.abortedGroups = returned.count
    await source.putBack(surplus + returned.sorted(by: Self.byIndex))
    result.seconds = began.duration(to: clock.now) / .seconds(1)
    (result.generationSeconds, result.rewardSeconds) = runner.clock.seconds
    return result
  }

  /// Rollouts' worth of groups after which a filter that has kept none of them will keep none.
  private static let fruitlessRounds = 50

  private struct Outcome: Sendable {
    var submitted: [Sample]
    var samples: [Sample]
  }

  private func start(_ group: [Sample], with runner: SampleRunner, in tasks: inout ThrowingTaskGroup<Outcome, any Error>) {
    var group = group
    if configuration.masksOffPolicyTokens {
      for position in group.indices where group[position].status == .aborted {
        group[position].lossMask = Array(repeating: 0, count: group[position].responseLength)
      }
    }
    let seed = configuration.samplingSeed.map { base in { @Sendable (sample: Sample) in base + (sample.index ?? 0) } }
    tasks.addTask { [group] in
      let samples = try await runner.run(group: group, sampling: configuration.sampling, seed: seed)
      return Outcome(submitted: group, samples: samples)
    }
  }

  /// What a later rollout begins with of an aborted group. A sample that fanned out has no beginning to continue.
  private func kept(of outcome: Outcome, _ rolloutID: Int) -> [Sample] {
    let continues = configuration.partialRollout && outcome.samples.count == outcome.submitted.count
    return (continues ? outcome.samples : outcome.submitted).map { sample in
      var sample = sample
      if !continues {
        sample.reset()
      } else if sample.responseLength > 0, sample.metadata["start_rollout_id"] == nil {
        sample.metadata["start_rollout_id"] = .int(rolloutID)
      }
      return sample
    }
  }

  private static func byIndex(_ a: [Sample], _ b: [Sample]) -> Bool {
    (a.first?.groupIndex ?? 0, a.first?.index ?? 0) < (b.first?.groupIndex ?? 0, b.first?.index ?? 0)
  }
}
