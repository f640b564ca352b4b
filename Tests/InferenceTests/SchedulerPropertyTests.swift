import Inference
import TestSupport
import Testing

/// Follows every token of every request beside the scheduler, knowing nothing of how it decides.
private struct Ledger {
  let limits: SchedulerConfiguration
  var tokens: [String: [Int]] = [:]
  var computed: [String: Int] = [:]
  var finished: [String: FinishReason] = [:]
  var retractions = 0

  mutating func add(_ request: GenerateRequest) { (tokens[request.id], computed[request.id]) = (request.tokens, 0) }

  /// Checks a plan and applies it; `sample` gives the token of a position.
  mutating func run(_ plan: BatchPlan, sample: (BatchPlan.Item) -> Int) -> [SampledToken] {
    #expect(!plan.items.isEmpty)
    #expect(plan.tokenCount <= limits.maxBatchTokens)
    #expect(plan.items.count <= limits.maxRunningRequests)
    #expect(Set(plan.items.map(\.id)).count == plan.items.count)
    let slots = plan.items.flatMap { $0.slots(pageSize: limits.pageSize) }
    #expect(Set(slots).count == slots.count)
    var owned: [Int] = []
    var samples: [SampledToken] = []
    for item in plan.items {
      #expect(finished[item.id] == nil && item.start == computed[item.id], "every position once, in order")
      #expect(item.end <= tokens[item.id]!.count && item.tokens == Array(tokens[item.id]![item.start..<item.end]))
      #expect(item.pages.count == (item.end + limits.pageSize - 1) / limits.pageSize)
      owned += item.pages
      computed[item.id] = item.end
      if item.samples {
        #expect(item.end == tokens[item.id]!.count)
        tokens[item.id]!.append(sample(item))
        samples.append(SampledToken(tokens[item.id]!.last!))
      }
    }
    #expect(Set(owned).count == owned.count, "a page with two owners")
    return samples
  }

  mutating func apply(_ actions: [SchedulerAction]) {
    for action in actions {
      switch action {
      case .retract(let id):
        computed[id] = 0
        retractions += 1
      case .finish(let id, let reason):
        #expect(finished[id] == nil, "\(id) finished twice")
        finished[id] = reason
      }
    }
  }
}

private struct Life: Equatable {
  var plans: [BatchPlan] = []
  var finished: [String: FinishReason] = [:]
  var retractions = 0
}

/// A random life of a scheduler, with all that it planned.
private func live(seed: UInt64) throws -> Life {
  var random = SeededGenerator(state: seed)
  let running = Int.random(in: 1...6, using: &random)
  let limits = SchedulerConfiguration(
    pageSize: Int.random(in: 1...5, using: &random), totalPages: Int.random(in: 12...30, using: &random),
    contextLength: 60, vocabularySize: 50, endOfSequence: [0], maxRunningRequests: running,
    maxBatchTokens: running + Int.random(in: 0...20, using: &random),
    conservativeness: [0.01, 0.3, 1].randomElement(using: &random)!)
  var scheduler = try Scheduler(limits)
  var ledger = Ledger(limits: limits)
  var plans: [BatchPlan] = []
  var submitted = 0

  func step() throws {
    let step = scheduler.plan()
    ledger.apply(step.actions)
    if let plan = step.plan {
      plans.append(plan)
      let samples = ledger.run(plan) { _ in Int.random(in: 0..<50, using: &random) }
      // Messages may arrive while the batch runs.
      if Int.random(in: 0..<8, using: &random) == 0 {
        ledger.apply(scheduler.abort("r\(Int.random(in: 0...submitted, using: &random))"))
      }
      if Int.random(in: 0..<20, using: &random) == 0 {
        ledger.apply(scheduler.pause(PauseMode.allCases.randomElement(using: &random)!))
      }
      ledger.apply(scheduler.complete(samples))
    }
    try scheduler.checkIntegrity()
  }

  for _ in 0..<120 {
    switch Int.random(in: 0..<10, using: &random) {
    case 0..<4:
      var sampling = SamplingParameters()
      let half = min(limits.tokenCapacity, limits.contextLength) / 2
      sampling.maxNewTokens = [nil, 0, 1, Int.random(in: 2...half, using: &random)].randomElement(using: &random)!
      sampling.ignoreEOS = Bool.random(using: &random)
      let prompt = (0..<Int.random(in: 1...half, using: &random)).map { _ in Int.random(in: 0..<50, using: &random) }
      let request = GenerateRequest(id: "r\(submitted)", tokens: prompt, sampling: sampling)
      try scheduler.submit(request)
      ledger.add(request)
      submitted += 1
    case 4: ledger.apply(scheduler.abort("r\(Int.random(in: 0...submitted, using: &random))"))
    case 5 where Int.random(in: 0..<4, using: &random) == 0:
      ledger.apply(scheduler.pause(PauseMode.allCases.randomElement(using: &random)!))
    case 6: scheduler.resume()
    default: try step()
    }
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
  return Life(plans: plans, finished: ledger.finished, retractions: ledger.retractions)
}

@Test(arguments: 0..<8) func randomLivesKeepTheInvariants(_ block: UInt64) throws {
  let lives = try (block * 50..<(block + 1) * 50).map(live)
  #expect(lives.contains { $0.retractions > 3 } && lives.contains { $0.plans.count > 50 }, "the lives are too quiet")
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
