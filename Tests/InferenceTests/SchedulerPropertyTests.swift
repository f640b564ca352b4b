import Inference
import TestSupport
import Testing

private struct Life: Equatable {
  var plans: [BatchPlan] = []
  var finished: [String: FinishReason] = [:]
  var retractions = 0
  var reused = 0
  var evicted = 0
  var correctDrafts = 0
}

private func randomLimits(_ random: inout SeededGenerator, keepsStates: Bool) -> SchedulerConfiguration {
  let running = Int.random(in: 1...6, using: &random)
  return SchedulerConfiguration(
    pageSize: Int.random(in: 1...5, using: &random), totalPages: Int.random(in: 12...30, using: &random),
    contextLength: 60, vocabularySize: 50, endOfSequence: [0], maxRunningRequests: running,
    maxBatchTokens: running + Int.random(in: 0...20, using: &random),
    conservativeness: [0.01, 0.3, 1].randomElement(using: &random)!,
    policy: SchedulePolicy.allCases.randomElement(using: &random)!,
    disableRadixCache: Int.random(in: 0..<8, using: &random) == 0,
    deferralThreshold: [1, 5, 32].randomElement(using: &random)!,
    stateSlots: keepsStates ? running + Int.random(in: 0...4, using: &random) : nil)
}

/// Requests that begin alike, in groups.
private func randomGroup(
  _ limits: SchedulerConfiguration, stems: [[Int]], first: Int, _ random: inout SeededGenerator
) -> [GenerateRequest] {
  let half = min(limits.tokenCapacity, limits.contextLength) / 2
  let stem = stems.randomElement(using: &random)!.prefix(Int.random(in: 0...half, using: &random))
  var request = GenerateRequest(id: "", tokens: Array(stem))
  request.extraKey = [nil, nil, nil, "a"].randomElement(using: &random)!
  request.cacheSalt = [nil, nil, nil, "a"].randomElement(using: &random)!
  let isAlike = Bool.random(using: &random)
  func tail() -> [Int] {
    let count = Int.random(in: stem.isEmpty ? 1...half : 0...half - stem.count, using: &random)
    return (0..<count).map { _ in Int.random(in: 0..<50, using: &random) }
  }
  request.tokens += tail()
  return (0..<[1, 1, 2, 4].randomElement(using: &random)!).map { member in
    var request = request
    request.id = "r\(first + member)"
    if !isAlike { request.tokens = Array(stem) + tail() }
    request.sampling.maxNewTokens = [nil, 0, 1, Int.random(in: 2...half, using: &random)].randomElement(using: &random)!
    request.sampling.ignoreEOS = Bool.random(using: &random)
    request.priority = [nil, nil, -1, 3].randomElement(using: &random)!
    if Int.random(in: 0..<4, using: &random) == 0 {
      request.returnLogProbs = true
      request.logProbStart = Int.random(in: 0..<request.tokens.count, using: &random)
    }
    if Int.random(in: 0..<4, using: &random) == 0 {
      request.routedExpertsStart = Int.random(in: 0..<request.tokens.count, using: &random)
    }
    return request
  }
}

/// A random life of a scheduler, with all that it planned.
private func live(seed: UInt64, keepsStates: Bool = false) throws -> Life {
  var random = SeededGenerator(state: seed)
  let limits = randomLimits(&random, keepsStates: keepsStates)
  let stems = (0..<2).map { _ in (0..<60).map { _ in Int.random(in: 0..<50, using: &random) } }
  var scheduler = try Scheduler(limits)
  var ledger = KVLedger(limits)
  var plans: [BatchPlan] = []
  var submitted = 0

  let draftsAtMost = keepsStates ? 0 : Int.random(in: 0...5, using: &random)
  let isTree = Bool.random(using: &random)

  /// Drafts in any order that puts nodes after those that they follow.
  func tree() -> DraftTree {
    var tree = DraftTree()
    for _ in 0..<2 * draftsAtMost {
      let (parent, token) = (Int.random(in: -1..<tree.count, using: &random), Int.random(in: 1...2, using: &random))
      if tree.child(of: parent, token: token) == nil { tree.add(token, after: parent) }
    }
    return tree
  }

  func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &random) == 0 }

  /// What may happen at any time, also while a batch runs.
  func disturb() {
    if chance(8) { ledger.apply(scheduler.abort("r\(Int.random(in: 0...submitted, using: &random))")) }
    if chance(20) { ledger.apply(scheduler.pause(PauseMode.allCases.randomElement(using: &random)!)) }
  }

  /// New weights come between two batches.
  func changeWeights() {
    scheduler.forgetPrefixes()
    ledger.changeWeights()
    #expect(scheduler.evictablePages == 0)
  }

  /// Plans with drafts of tokens that are likely to be sampled; nothing else of the plan may be due to them.
  func plan() -> SchedulerStep {
    var drafts: [String: DraftTree] = [:]
    for request in scheduler.decoding where !chance(4) {
      drafts[request.id] = isTree ? tree() : DraftTree(chain: (0..<draftsAtMost).map { _ in Int.random(in: 1...2, using: &random) })
    }
    let deepest = Dictionary(uniqueKeysWithValues: scheduler.decoding.map { ($0.id, $0.usefulDrafts) })
    var plain = scheduler
    let (wanted, step) = (plain.plan(), scheduler.plan(drafts: drafts))
    var found = step
    for i in (found.plan?.items ?? []).indices {
      let item = found.plan!.items[i]
      let given = drafts[item.id, default: []]
      #expect(item.drafts == given.filter { given.depths[$0] <= deepest[item.id]! }.prefix(item.draftCount))
      found.plan!.items[i].tokens.removeLast(item.draftCount)
      found.plan!.items[i].draftParents = []
      let pages = (item.end - item.draftCount + limits.pageSize - 1) / limits.pageSize
      found.plan!.items[i].pages.removeLast(item.pages.count - pages)
    }
    #expect(found == wanted)
    return step
  }

  func step() throws {
    let step = plan()
    ledger.apply(step.actions)
    if let plan = step.plan {
      plans.append(plan)
      // Few different tokens, so that responses are alike too.
      let samples = ledger.run(plan) { _ in chance(10) ? 0 : Int.random(in: 1...2, using: &random) }
      disturb()
      if chance(40) {
        ledger.spoil(plan)
        ledger.apply(scheduler.discard())
      } else {
        ledger.apply(scheduler.complete(samples))
      }
    }
    try scheduler.checkIntegrity()
  }

  for _ in 0..<150 {
    switch Int.random(in: 0..<12, using: &random) {
    case 0..<3:
      for request in randomGroup(limits, stems: stems, first: submitted, &random) {
        try scheduler.submit(request)
        ledger.add(request)
        submitted += 1
      }
    case 3: disturb()
    case 4: scheduler.resume()
    case 5 where chance(4): changeWeights()
    case 5 where scheduler.canFlush: scheduler.forgetPrefixes()
    default: try step()
    }
    try scheduler.checkIntegrity()
  }
  var steps = 0
  while ledger.finished.count < submitted {
    scheduler.resume()
    try step()
    steps += 1
    guard steps < 20_000 else {
      Issue.record("seed \(seed): \(submitted - ledger.finished.count) requests never finish")
      break
    }
  }
  #expect(scheduler.freePages == limits.totalPages && scheduler.canFlush && !scheduler.hasWork)
  #expect(scheduler.cachedTokens <= ledger.reused && scheduler.retractions == ledger.retractions)
  #expect(!limits.disableRadixCache || scheduler.evictablePages == 0 && ledger.reused == 0)
  return Life(
    plans: plans, finished: ledger.finished, retractions: ledger.retractions, reused: ledger.reused,
    evicted: scheduler.evictedTokens, correctDrafts: ledger.correctDrafts)
}

@Test(arguments: 0..<8) func randomLivesKeepTheInvariants(_ block: UInt64) throws {
  let lives = try (block * 50..<(block + 1) * 50).map { try live(seed: $0) }
  #expect(lives.contains { $0.retractions > 3 } && lives.contains { $0.plans.count > 50 }, "the lives are too quiet")
  #expect(lives.contains { $0.reused > 40 } && lives.contains { $0.evicted > 40 }, "the caches are too quiet")
  #expect(lives.contains { $0.correctDrafts > 60 }, "too few drafts are right")
}

/// With states of requests: only what has states at its end is reused.
@Test(arguments: 0..<4) func randomLivesWithStatesKeepTheInvariants(_ block: UInt64) throws {
  let lives = try (block * 50..<(block + 1) * 50).map { try live(seed: $0, keepsStates: true) }
  #expect(lives.contains { $0.retractions > 3 } && lives.contains { $0.plans.count > 50 }, "the lives are too quiet")
  #expect(lives.contains { $0.reused > 20 } && lives.contains { $0.evicted > 10 }, "the caches are too quiet")
}

@Test func replaysAreEqual() throws {
  for seed in 1000..<1010 as Range<UInt64> { #expect(try live(seed: seed) == live(seed: seed)) }
}

@Test func tightCachesRetractAndStillFinish() throws {
  var scheduler = try Scheduler(
    SchedulerConfiguration(
      pageSize: 2, totalPages: 40, contextLength: 40, vocabularySize: 10, maxRunningRequests: 8, maxBatchTokens: 16,
      conservativeness: 0.01))
  for i in 0..<20 {
    var sampling = SamplingParameters()
    sampling.maxNewTokens = 30
    try scheduler.submit(GenerateRequest(id: "\(i)", tokens: [1, 2, 3, 4, 5], sampling: sampling))
  }
  let actions = scheduler.runToEnd()
  #expect(actions.count { if case .retract = $0 { true } else { false } } > 0)
  #expect(actions.count { if case .finish(_, .length(30)) = $0 { true } else { false } } == 20)
}
