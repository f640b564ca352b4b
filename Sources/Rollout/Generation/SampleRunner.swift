import Inference
import Synchronization

/// How finished samples are scored.
public enum RewardCall: Sendable {
  case each(@Sendable (Sample) async throws -> Reward)
  /// All samples of a group at once (`--group-rm`), rewards in their order.
  case group(@Sendable ([Sample]) async throws -> [Reward])
}

/// Generates and scores samples, with at most so many in the engine at a time. Scoring holds no place in the engine.
struct SampleRunner: Sendable {
  let engine: any GenerationEngine
  let codec: PromptCodec
  let generator: any SampleGenerator
  let reward: RewardCall
  let permits: Semaphore
  /// Starts the ids of all requests.
  let name: String
  let isEvaluation: Bool
  let clock = RolloutClock()
  private let stop = Flag()

  init(
    engine: any GenerationEngine, codec: PromptCodec, generator: any SampleGenerator, reward: RewardCall, concurrency: Int,
    name: String, isEvaluation: Bool = false
  ) {
    (self.engine, self.codec, self.generator, self.reward) = (engine, codec, generator, reward)
    (permits, self.name, self.isEvaluation) = (Semaphore(concurrency), name, isEvaluation)
  }

  /// From now on no sample starts; those that run end as aborted. Returns when cancelled: a sample may be on its way to the
  /// engine while the engine aborts, so it is asked again until nothing runs.
  func abort() async {
    stop.raise()
    while !Task.isCancelled {
      await engine.abort(nil)
      try? await Task.sleep(for: .milliseconds(100))
    }
  }

  /// All samples of a group, scored unless some were aborted.
  func run(group: [Sample], sampling: RolloutSampling, seed: (@Sendable (Sample) -> Int)?) async throws -> [Sample] {
    var results = try await withThrowingTaskGroup(of: (Int, [Sample]).self) { tasks in
      for (position, sample) in group.enumerated() {
        tasks.addTask { (position, try await run(sample, sampling: sampling, seed: seed?(sample))) }
      }
      var parts: [[Sample]] = group.map { _ in [] }
      for try await (position, samples) in tasks { parts[position] = samples }
      return parts.flatMap { $0 }
    }
    if case .group(let score) = reward, !results.contains(where: { $0.status == .aborted }),
      results.contains(where: { $0.reward == nil })
    {
      let rewards = try await clock.scoring { [results] in try await score(results) }
      guard rewards.count == results.count else {
        throw SampleError("the group reward returned \(rewards.count) rewards for \(results.count) samples")
      }
      for (position, reward) in rewards.enumerated() { results[position].reward = reward }
    }
    return results
  }

  private func run(_ sample: Sample, sampling: RolloutSampling, seed: Int?) async throws -> [Sample] {
    do {
      var results = [sample]
      if sample.status == .pending || sample.status == .aborted {
        results = try await permits.withPermit {
          try Task.checkCancellation()
          guard !stop.isRaised else {
            var aborted = sample
            aborted.status = .aborted
            return [aborted]
          }
          let context = GenerationContext(
            engine: engine, codec: codec, sampling: sampling, samplingSeed: seed,
            requestID: "\(name)-\(sample.index ?? 0)", isEvaluation: isEvaluation)
          return try await clock.generating { try await generator.generate(sample, context) }
        }
      }
      if results.count > 1 {
        for position in results.indices where results[position].rolloutID == nil {
          results[position].rolloutID = sample.index
        }
      }
      guard case .each(let score) = reward, !results.contains(where: { $0.status == .aborted }) else { return results }
      for position in results.indices where results[position].reward == nil {
        results[position].reward = try await clock.scoring { [sample = results[position]] in try await score(sample) }
      }
      return results
    } catch let error as SampleError {
      throw SampleError("sample \(sample.index ?? 0): \(error)")
    } catch let error as InvalidRequest {
      throw SampleError("sample \(sample.index ?? 0): the engine refused it: \(error)")
    }
  }
}

/// A boolean that goes from false to true once.
private final class Flag: Sendable {
  private let value = Atomic(false)
  var isRaised: Bool { value.load(ordering: .acquiring) }
  func raise() { value.store(true, ordering: .releasing) }
}
