import Foundation
import Inference
import Rollout
import Synchronization
import TestSupport
import Testing

@Suite struct RolloutGeneratorTests {
  func configuration(_ batch: Int, over: Int? = nil, responses: Int = 8) -> RolloutConfiguration {
    var made = RolloutConfiguration(rolloutBatchSize: batch, sampling: RolloutSampling(maxResponseLength: responses))
    made.overSamplingBatchSize = over ?? batch
    return made
  }

  func source(_ prompts: Int, samples: Int = 2) throws -> RolloutDataSource {
    RolloutDataSource(dataset: try withTemporaryFolder { try numbered(prompts, in: $0) }, samplesPerPrompt: samples)
  }

  func generator(
    _ configuration: RolloutConfiguration, _ engine: ScriptedEngine, reward: RewardCall = .each { .number(Double($0.index! % 2)) }
  ) -> RolloutGenerator {
    RolloutGenerator(configuration: configuration, engine: engine, codec: byteCodec, reward: reward)
  }

  /// The prompts are p0, p1, …; this is the number.
  static func number(_ request: GenerateRequest) -> Int {
    Int(String(decoding: request.tokens.prefix { $0 < 128 }.map(UInt8.init), as: UTF8.self).dropFirst())!
  }

  @Test func groupsComeBackInOrderWithEverythingFilled() async throws {
    let engine = ScriptedEngine { request in
      let number = Self.number(request)
      try await Task.sleep(for: .milliseconds((7 - number) * 3))
      return .tokens([200, 201 + number], number == 3 ? .length(2) : .stopToken(201 + number))
    }
    var settings = configuration(6)
    settings.concurrency = 3
    settings.samplingSeed = 100
    settings.sampling.stop = ["END"]
    let result = try await generator(settings, engine).generate(rolloutID: 0, from: source(6))
    #expect(result.groups.map { $0.map(\.index!) } == (0..<6).map { [2 * $0, 2 * $0 + 1] })
    #expect(result.samples.allSatisfy { $0.rolloutLogProbs?.count == 2 && $0.weightVersions == ["1"] })
    #expect(result.samples.map(\.reward) == (0..<12).map { .number(Double($0 % 2)) })
    #expect(result.groups[3].map(\.status) == [.truncated, .truncated] && result.groups[2][0].status == .completed)
    #expect(result.samples[0].tokens == "p0".utf8.map(Int.init) + [200, 201])
    let (requests, most) = engine.state.withLock { ($0.requests, $0.mostRunning) }
    #expect(most == 3)
    #expect(Set(requests.map(\.id)).count == 12)
    #expect(Set(requests.compactMap(\.sampling.samplingSeed)) == Set(100..<112))
    #expect(requests.allSatisfy { $0.returnLogProbs && $0.sampling.noStopTrim && $0.sampling.stop == ["END"] })
    let metrics = try result.metrics(devices: 2)
    #expect(metrics["rollout/response_len/mean"] == 2 && metrics["rollout/raw_reward"] == 0.5)
    #expect(abs(metrics["rollout/truncated_ratio"]! - 2.0 / 12) < 1e-12 && metrics["rollout/prefix_cache_hit_rate"] == 0.25)
    #expect(abs(metrics["perf/tokens_per_gpu_per_sec"]! * metrics["perf/rollout_time"]! - 12) < 1e-6)
  }

  @Test func theFilterAsksForMoreUntilEnoughAreKept() async throws {
    let engine = ScriptedEngine { _ in .tokens([200], .stopToken(200)) }
    var settings = configuration(4, over: 5)
    settings.filter = try .named("slime.rollout.filter_hub.dynamic_sampling_filters.check_reward_nonzero_std")
    // Every third group has rewards that differ; the others are all right or all wrong.
    let rewards = RewardCall.each { .number($0.groupIndex! % 3 == 0 ? Double($0.index! % 2) : Double($0.groupIndex! % 3 - 1)) }
    let data = try source(100)
    let result = try await generator(settings, engine, reward: rewards).generate(rolloutID: 0, from: data)
    #expect(result.groups.count == 4)
    #expect(result.groups.allSatisfy { $0[0].groupIndex! % 3 == 0 })
    #expect(result.dropped.keys.sorted() == ["zero_std_0.0", "zero_std_1.0"])
    #expect(try result.metrics()["rollout/dynamic_filter/drop_zero_std_0.0"] == Double(result.dropped["zero_std_0.0"]!))
  }

  @Test func surplusAndAbortedGroupsComeBackNextTime() async throws {
    let isFirst = Atomic(true)
    let engine = ScriptedEngine { request in
      let number = Self.number(request)
      // In the first rollout even prompts hang; p1, p3 and p5 finish.
      if isFirst.load(ordering: .relaxed), number % 2 == 0 { return .hang(after: [150]) }
      return .tokens([200], .stopToken(200))
    }
    let data = try source(100)
    let first = try await generator(configuration(2, over: 6), engine).generate(rolloutID: 0, from: data)
    #expect(first.groups.count == 2 && first.groups.allSatisfy { $0[0].groupIndex! % 2 == 1 })
    #expect(first.surplusGroups + first.abortedGroups == 4 && first.abortedGroups >= 3)
    #expect(engine.state.withLock { $0.running } == 0)
    isFirst.store(false, ordering: .relaxed)
    let second = try await generator(configuration(4), engine).generate(rolloutID: 1, from: data)
    // Together the six prompts, each once, and nothing of the aborted attempt is left.
    #expect(Set((first.groups + second.groups).map { $0[0].groupIndex! }) == Set(0..<6))
    #expect(second.samples.allSatisfy { $0.responseTokens == [200] && $0.status == .completed && $0.reward != nil })
    #expect(await data.groups(1)[0][0].groupIndex == 6)
  }

  @Test(arguments: [false, true]) func partialRolloutsContinue(masks: Bool) async throws {
    let isFirst = Atomic(true)
    let engine = ScriptedEngine { request in
      if isFirst.load(ordering: .relaxed), Self.number(request) == 0 { return .hang(after: [150, 151]) }
      return .tokens([200], .stopToken(200))
    }
    var settings = configuration(1, over: 2)
    (settings.partialRollout, settings.masksOffPolicyTokens) = (true, masks)
    let data = try source(50, samples: 1)
    let first = try await generator(settings, engine).generate(rolloutID: 7, from: data)
    #expect(first.groups[0][0].groupIndex == 1 && first.abortedGroups == 1)
    isFirst.store(false, ordering: .relaxed)
    engine.state.withLock { $0.weightVersion = "2" }
    settings.overSamplingBatchSize = 1
    let sample = try await generator(settings, engine).generate(rolloutID: 8, from: data).groups[0][0]
    #expect(sample.groupIndex == 0 && sample.responseTokens == [150, 151, 200] && sample.response == "t150t151t200")
    #expect(sample.weightVersions == ["1", "2"] && sample.metadata["start_rollout_id"]?.int == 7)
    #expect(sample.lossMask == (masks ? [0, 0, 1] : [1, 1, 1]))
    #expect(sample.rolloutLogProbs == [-1.5, -1.51, -2])
    let last = try #require(engine.state.withLock { $0.requests.last })
    #expect(last.tokens.suffix(2) == [150, 151] && last.sampling.maxNewTokens == 6)
  }

  @Test func lengthsAreBoundedByResponseAndContext() async throws {
    let engine = ScriptedEngine { .tokens([200], .length($0.sampling.maxNewTokens!)) }
    var settings = configuration(1)
    settings.sampling.maxContextLength = 6
    settings.sampling.minNewTokens = 5
    _ = try await generator(settings, engine).generate(rolloutID: 0, from: source(1))
    #expect(engine.state.withLock { $0.requests[0].sampling.maxNewTokens } == 4)
    #expect(engine.state.withLock { $0.requests[0].sampling.minNewTokens } == 4)
    settings.sampling.maxContextLength = 2
    let full = settings
    await #expect(throws: SampleError.self) {
      _ = try await generator(full, engine).generate(rolloutID: 0, from: source(1))
    }
    let sampling = settings.sampling
    #expect(sampling.room(promptLength: 1, responseLength: 1) == 0)
    #expect(RolloutSampling(maxResponseLength: 8).room(promptLength: 100, responseLength: 3) == 5)
  }

  @Test func slowRewardsDoNotHoldTheEngine() async throws {
    let engine = ScriptedEngine { _ in .tokens([200], .stopToken(200)) }
    var settings = configuration(4)
    settings.concurrency = 1
    let scoring = Mutex((now: 0, most: 0))
    let reward = RewardCall.each { _ in
      scoring.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
      try await Task.sleep(for: .milliseconds(50))
      scoring.withLock { $0.now -= 1 }
      return .number(1)
    }
    _ = try await generator(settings, engine, reward: reward).generate(rolloutID: 0, from: source(4))
    // With one place in the engine, rewards could only overlap because they are scored outside of it.
    #expect(scoring.withLock { $0.most } > 2)
  }

  @Test func groupRewardsSeeTheWholeGroup() async throws {
    let engine = ScriptedEngine { _ in .tokens([200], .stopToken(200)) }
    let reward = RewardCall.group { group in group.indices.map { .number(Double(10 * group.count + $0)) } }
    let result = try await generator(configuration(3), engine, reward: reward).generate(rolloutID: 0, from: source(3, samples: 4))
    #expect(result.groups.allSatisfy { $0.map(\.reward) == (0..<4).map { .number(Double(40 + $0)) } })
  }

  @Test func failuresEndTheRolloutAndNameTheSample() async throws {
    struct Broken: Error {}
    let engine = ScriptedEngine { request in
      if Self.number(request) == 2 { throw Broken() }
      return .tokens([200], .stopToken(200))
    }
    await #expect(throws: Broken.self) {
      _ = try await generator(configuration(4), engine).generate(rolloutID: 0, from: source(4))
    }
    let silent = ScriptedEngine { _ in .tokens([200], .stopToken(200)) }
    let reward = RewardCall.each { sample in
      if sample.index == 5 { throw SampleError("no label") }
      return .number(1)
    }
    let error = await #expect(throws: SampleError.self) {
      _ = try await generator(configuration(4), silent, reward: reward).generate(rolloutID: 0, from: source(4))
    }
    #expect(error?.description == "sample 5: no label")
  }
}

@Suite struct EvaluatorTests {
  @Test func metricsByDataset() async throws {
    let engine = ScriptedEngine { request in
      let number = RolloutGeneratorTests.number(request)
      return .tokens(Array(repeating: 200, count: number + 1), number == 1 ? .length(2) : .stopToken(200))
    }
    var overrides = EvaluationOverrides()
    (overrides.temperature, overrides.maxResponseLength) = (0.25, 30)
    var rollout = RolloutSampling(maxResponseLength: 8)
    (rollout.topP, rollout.stopTokenIDs) = (0.9, [7])
    let prompts = try withTemporaryFolder { try numbered(2, in: $0) }
    let datasets = [
      EvaluationDataset(name: "math", dataset: prompts, samplesPerPrompt: 4, sampling: overrides.applied(to: rollout)),
      EvaluationDataset(name: "other", dataset: prompts, sampling: rollout),
    ]
    // Of prompt 0 one sample of four is right; of prompt 1 all are.
    let evaluator = Evaluator(engine: engine, codec: byteCodec, samplingSeed: 5) {
      .number($0.groupIndex == 1 || $0.index == 2 ? 1 : 0)
    }
    let result = try await evaluator.evaluate(datasets, reportsPassRate: true)
    #expect(result.metrics["eval/math"] == 0.625 && result.metrics["eval/other"] == 0.5)
    #expect(result.metrics["eval/math-truncated_ratio"] == 0.5)
    #expect(result.metrics["eval/math-pass@1"] == 0.625 && result.metrics["eval/math-pass@4"] == 1)
    #expect(result.metrics["eval/math-pass@2"] == 0.75)
    #expect(result.metrics["eval/math/response_len/max"] == 2)
    #expect(result.samples["math"]?.map(\.index!) == Array(0..<8))
    let requests = engine.state.withLock { $0.requests }
    let math = requests.filter { $0.id.hasPrefix("eval-math") }.map(\.sampling)
    #expect(math.allSatisfy { $0.temperature == 0.25 && $0.maxNewTokens == 30 && $0.topP == 0.9 && $0.stopTokenIDs == [7] })
    #expect(math.compactMap(\.samplingSeed).sorted() == [5, 5, 6, 6, 7, 7, 8, 8])
    #expect(requests.filter { $0.id.hasPrefix("eval-other") }.allSatisfy { $0.sampling.temperature == 1 })
  }

  @Test func pairsOfNamesAndPaths() throws {
    #expect(try EvaluationDataset.pairs(["a", "x", "b", "y"]).map(\.path) == ["x", "y"])
    #expect(throws: DatasetError.self) { try EvaluationDataset.pairs(["a", "x", "b"]) }
    #expect(throws: DatasetError.self) { try EvaluationDataset.pairs(["a", "x", "a", "y"]) }
  }

  /// The estimator against its definition: the share of all k-subsets that hold a right response.
  @Test func passRateCountsSubsets() {
    for right in 0...8 {
      let rewards = (0..<8).map { $0 < right ? 1.0 : 0 }
      for (k, rate) in passRates(rewards, groupIDs: Array(repeating: 0, count: 8)) {
        let subsets = (0..<256).filter { $0.nonzeroBitCount == k }
        let hits = subsets.filter { $0 & ((1 << right) - 1) != 0 }.count
        #expect(abs(rate - Double(hits) / Double(subsets.count)) < 1e-12)
      }
    }
    #expect(passRates([1, 0, 1], groupIDs: [0, 0, 1]).map(\.k) == [1, 2])
  }
}
