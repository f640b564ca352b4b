import Inference
import Testing

/// What the scheduler makes of prompts that begin alike.
@Suite struct PrefixSchedulingTests {
  private func finished(_ actions: [SchedulerAction]) -> [String] {
    actions.compactMap { if case .finish(let id, _) = $0 { id } else { nil } }
  }

  /// Runs to the end; the order in which requests first ran, and the prompt tokens that were computed.
  private func run(_ scheduler: inout Scheduler) throws -> (order: [String], computed: Int) {
    var order: [String] = []
    var computed = 0
    while scheduler.hasWork {
      for item in try #require(scheduler.step().plan).items {
        if !order.contains(item.id) { order.append(item.id) }
        computed += item.tokens.count
      }
      try scheduler.checkIntegrity()
    }
    return (order, computed)
  }

  @Test(arguments: [32, 500]) func aGroupComputesItsPromptOnce(batchTokens: Int) throws {
    var scheduler = try Scheduler(configuration(pages: 256, context: 200, running: 20, batchTokens: batchTokens))
    for i in 0..<16 { try scheduler.submit(request("\(i)", prompt: 101, new: 1)) }
    let (order, computed) = try run(&scheduler)
    #expect(order == (0..<16).map(String.init) && computed == 101 + 15 * 1)
    #expect(scheduler.promptTokens == 16 * 101 && scheduler.cachedTokens == 15 * 100)
  }

  @Test func aGroupOfOtherPromptsPassesTheOneThatWaits() throws {
    var scheduler = try Scheduler(configuration(pages: 256, batchTokens: 40))
    for id in ["a", "b"] { try scheduler.submit(request(id, prompt: 41, new: 5)) }
    var other = request("c", prompt: 3, new: 5)
    other.tokens = [9, 9, 9]
    try scheduler.submit(other)
    #expect(scheduler.step().plan!.items.map(\.id) == ["a"])
    let second = scheduler.step().plan!
    #expect(second.items.map(\.id) == ["a", "b", "c"] && second.items.map(\.start) == [40, 40, 0])
    #expect(second.items[1].pages[..<10] == second.items[0].pages[..<10])
  }

  @Test func aChunkIsSharedBeforeThePromptIsThrough() throws {
    var scheduler = try Scheduler(configuration(pages: 256, batchTokens: 40))
    try scheduler.submit(request("long", prompt: 100, new: 1))
    _ = scheduler.step()
    try scheduler.submit(request("short", prompt: 41, new: 1))
    let items = scheduler.step().plan!.items
    #expect(items.map(\.start) == [40] && items.map(\.id) == ["long"], "no budget is left")
    #expect(scheduler.step().plan!.items.map(\.start) == [80, 40])
  }

  @Test func namespacesDoNotShare() throws {
    var scheduler = try Scheduler(configuration(pages: 256, batchTokens: 200))
    let spaces: [(String?, String?)] = [(nil, nil), ("a", nil), (nil, "a"), ("a", "a"), ("", nil), ("a", nil)]
    for (i, (key, salt)) in spaces.enumerated() {
      var request = request("\(i)", prompt: 41, new: 1)
      (request.extraKey, request.cacheSalt) = (key, salt)
      try scheduler.submit(request)
    }
    #expect(try run(&scheduler).computed == 5 * 41 + 1)
  }

  @Test func whatIsWantedOfThePromptIsComputed() throws {
    var scheduler = try Scheduler(configuration(pages: 256, batchTokens: 200))
    try scheduler.submit(request("a", prompt: 41, new: 1))
    _ = try run(&scheduler)
    for (start, first) in [(0, 0), (1, 0), (4, 0), (5, 4), (40, 36), (nil, 40)] as [(Int?, Int)] {
      var wanted = request("w", prompt: 41, new: 1)
      (wanted.returnLogProbs, wanted.logProbStart) = (true, start)
      try scheduler.submit(wanted)
      let item = scheduler.step().plan!.items[0]
      #expect(item.start == first && Array(item.promptLogProbs) == start.map { Array(max(1, $0)..<41) } ?? [])
      var routed = request("r", prompt: 41, new: 1)
      routed.routedExpertsStart = start
      try scheduler.submit(routed)
      #expect(scheduler.step().plan!.items[0].start == (start ?? 40) / 4 * 4)
    }
  }

  @Test func prioritiesComeFirstAndThenArrivals() throws {
    var scheduler = try Scheduler(configuration(running: 1))
    for (i, priority) in [nil, 1, 0, .min, 1, .max].enumerated() {
      var request = request("\(i)", new: 1)
      request.priority = priority
      try scheduler.submit(request)
    }
    #expect(try run(&scheduler).order == ["5", "1", "4", "0", "2", "3"])
  }

  @Test(arguments: SchedulePolicy.allCases) func policiesOrderTheQueue(_ policy: SchedulePolicy) throws {
    var limits = configuration(pages: 256, running: 1, batchTokens: 200)
    limits.policy = policy
    var scheduler = try Scheduler(limits)
    try scheduler.submit(request("first", prompt: 41, new: 1))
    _ = try run(&scheduler)
    for (id, prompt) in [("a", 2), ("b", 20), ("c", 80)] { try scheduler.submit(request(id, prompt: prompt, new: 1)) }
    #expect(try run(&scheduler).order == (policy == .fcfs ? ["a", "b", "c"] : ["c", "b", "a"]))
    // Too many to look at, until the first two have run.
    for i in 0..<130 { try scheduler.submit(request("\(i)", prompt: i == 129 ? 41 : 2, new: 1)) }
    let last = policy == .fcfs ? Array(2..<130) : [129] + Array(2..<129)
    #expect(try run(&scheduler).order == ([0, 1] + last).map(String.init))
  }

  @Test func aRetractedRequestGoesOnWhereItStood() throws {
    var scheduler = try Scheduler(configuration(pages: 64, batchTokens: 64))
    try scheduler.submit(request("a", prompt: 41, new: 20))
    for _ in 0..<8 { _ = scheduler.step() }
    #expect(scheduler.pause(.retract) == [.retract(id: "a")] && scheduler.freePages == 64)
    scheduler.resume()
    #expect(scheduler.step().plan!.items[0].start == 48)
    // New weights: all of it is computed again, and once.
    _ = scheduler.pause(.retract)
    scheduler.forgetPrefixes()
    #expect(scheduler.evictablePages == 0)
    scheduler.resume()
    #expect(scheduler.step().plan!.items[0].start == 0)
    #expect(finished(scheduler.runToEnd()) == ["a"] && scheduler.retractions == 2 && scheduler.cachedTokens == 0)
  }

  @Test func whatOldWeightsComputedIsNotFound() throws {
    var scheduler = try Scheduler(configuration(pages: 64, batchTokens: 64))
    try scheduler.submit(request("old", prompt: 41, new: 4))
    _ = scheduler.step()
    _ = scheduler.pause(.inPlace)
    scheduler.forgetPrefixes()
    scheduler.resume()
    try scheduler.submit(request("new", prompt: 41, new: 9))
    #expect(scheduler.step().plan!.items.map(\.start) == [41, 0])
    while scheduler.runningCount == 2 { _ = scheduler.step() }
    try scheduler.checkIntegrity()
    #expect(scheduler.evictablePages == 0, "the old request left something")
    try scheduler.submit(request("newer", prompt: 41, new: 1))
    #expect(scheduler.step().plan!.items.map(\.start).last == 40)
  }

  @Test func longPromptsAreMatchedFast() throws {
    // Quadratic work in any of these lengths would take minutes.
    let prompt = (0..<100_000).map { $0 % 1000 }
    var scheduler = try Scheduler(configuration(pageSize: 1, pages: 400_000, context: 200_000, running: 32, batchTokens: 64))
    for i in 0..<8 {
      var request = request("\(i)", new: 1)
      request.tokens = prompt + [i]
      try scheduler.submit(request)
    }
    var computed = 0
    while scheduler.hasWork { computed += try #require(scheduler.step().plan).tokenCount }
    #expect(computed == 100_001 + 7)
  }
}
