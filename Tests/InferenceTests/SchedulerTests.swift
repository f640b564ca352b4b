import Inference
import Testing

func configuration(
  pageSize: Int = 4, pages: Int = 64, context: Int = 128, running: Int = 8, batchTokens: Int = 32, eos: Set<Int> = []
) -> SchedulerConfiguration {
  SchedulerConfiguration(
    pageSize: pageSize, totalPages: pages, contextLength: context, vocabularySize: 1000, endOfSequence: eos,
    maxRunningRequests: running, maxBatchTokens: batchTokens)
}

func request(_ id: String, prompt: Int = 3, new: Int? = 4) -> GenerateRequest {
  var sampling = SamplingParameters()
  sampling.maxNewTokens = new
  return GenerateRequest(id: id, tokens: Array(1...prompt), sampling: sampling)
}

extension Scheduler {
  /// Takes one token of each item that samples.
  mutating func complete(_ sampled: [SampledToken]) -> [SchedulerAction] { complete(sampled.map { [$0] }) }

  /// Plans a step, checks its limits, and samples `token` everywhere.
  mutating func step(_ token: Int = 500) -> (plan: BatchPlan?, actions: [SchedulerAction]) {
    let step = plan()
    guard let plan = step.plan else { return (nil, step.actions) }
    let samples = plan.items.filter(\.samples).map { _ in SampledToken(token) }
    return (plan, step.actions + complete(samples))
  }

  mutating func runToEnd(limit: Int = 10_000) -> [SchedulerAction] {
    var actions: [SchedulerAction] = []
    for _ in 0..<limit where hasWork { actions += step().actions }
    return actions
  }
}

@Suite struct SchedulerTests {
  @Test func promptsAreChunkedAndMixedWithDecoding() throws {
    var scheduler = try Scheduler(configuration(batchTokens: 8))
    try scheduler.submit(request("short", prompt: 2))
    try scheduler.submit(request("long", prompt: 10))
    let first = scheduler.step().plan!
    #expect(first.items.map(\.tokens) == [[1, 2], [1, 2, 3, 4, 5, 6]])
    #expect(first.items.map(\.samples) == [true, false])
    let second = scheduler.step().plan!
    #expect(second.items.map(\.id) == ["short", "long"])
    #expect(second.items.map(\.tokens) == [[500], [7, 8, 9, 10]])
    #expect(second.items.map(\.start) == [2, 6])
    #expect(second.items.map(\.samples) == [true, true])
    let pages = second.items[1].pages
    let slots = [pages[1] * 4 + 2, pages[1] * 4 + 3, pages[2] * 4, pages[2] * 4 + 1]
    #expect(second.items[1].slots(pageSize: 4) == slots)
  }

  @Test func finishReasonsAreThoseOfSGLang() throws {
    var scheduler = try Scheduler(configuration(eos: [2]))
    var stopping = request("stops")
    stopping.sampling.stopTokenIDs = [7]
    var ignoring = request("ignores", new: 2)
    (ignoring.sampling.stopTokenIDs, ignoring.sampling.ignoreEOS) = ([7], true)
    for r in [stopping, ignoring, request("eos"), request("string"), request("none", new: 0)] { try scheduler.submit(r) }
    _ = scheduler.plan()
    let actions = scheduler.complete([.init(7), .init(7), .init(2), .init(9, stopString: "x")])
    #expect(
      actions == [
        .finish(id: "stops", .stopToken(7)), .finish(id: "eos", .stopToken(2)), .finish(id: "string", .stopString("x")),
        .finish(id: "none", .length(0)),
      ])
    #expect(scheduler.step(7).actions == [.finish(id: "ignores", .length(2))])
    #expect(scheduler.freePages == 64)
  }

  @Test func theContextBoundsTheResponse() throws {
    var scheduler = try Scheduler(configuration(context: 10))
    try scheduler.submit(request("a", prompt: 7, new: nil))
    try scheduler.submit(request("b", prompt: 8, new: 100))
    #expect(scheduler.runToEnd() == [.finish(id: "b", .length(2)), .finish(id: "a", .length(3))])
  }

  @Test func whatCanNeverRunIsRefused() throws {
    var scheduler = try Scheduler(configuration(pages: 4, context: 100))
    let bad: [(GenerateRequest, String)] = [
      (request("a", prompt: 100), "leaves no room"), (request("a", prompt: 10, new: 7), "KV cache holds 16"),
      (GenerateRequest(id: "a", tokens: []), "input_ids cannot be empty"),
      (GenerateRequest(id: "a", tokens: [1000]), "token id 1000"), (GenerateRequest(id: "a", tokens: [-1]), "token id -1"),
      (GenerateRequest(id: "", tokens: [1]), "rid"),
      (GenerateRequest(id: "a", tokens: [1], logProbStart: -2), "logprob_start_len"),
      (GenerateRequest(id: "a", tokens: [1], logProbStart: 1), "logprob_start_len"),
      (GenerateRequest(id: "a", tokens: [1], topLogProbs: -1), "top_logprobs_num"),
      (GenerateRequest(id: "a", tokens: [1], tokenIDsLogProb: [1000]), "token_ids_logprob"),
    ]
    for (request, words) in bad {
      let error = #expect(throws: InvalidRequest.self) { try scheduler.submit(request) }
      #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }
    try scheduler.submit(request("a", prompt: 10, new: 6))
    #expect(throws: InvalidRequest.self) { try scheduler.submit(request("a")) }
    #expect(scheduler.runToEnd() == [.finish(id: "a", .length(6))])
    try scheduler.submit(request("a"))
  }

  @Test func promptLogProbsAppearOnceEach() throws {
    var scheduler = try Scheduler(configuration(pages: 6, batchTokens: 8))
    var wanted = request("w", prompt: 18, new: 2)
    (wanted.returnLogProbs, wanted.logProbStart) = (true, 4)
    try scheduler.submit(wanted)
    var positions: [Int] = []
    positions += scheduler.step().plan!.items.flatMap { Array($0.promptLogProbs) }
    #expect(scheduler.pause(.retract) == [.retract(id: "w")])
    scheduler.resume()
    while scheduler.hasWork { positions += scheduler.step().plan!.items.flatMap { Array($0.promptLogProbs) } }
    #expect(positions == Array(4..<18))
  }

  @Test func retractionKeepsTheRequestsWithMostOutput() throws {
    var scheduler = try Scheduler(configuration(pages: 6))
    try scheduler.submit(request("old", prompt: 4, new: 18))
    _ = scheduler.step()
    _ = scheduler.step()
    try scheduler.submit(request("new", prompt: 4, new: 4))
    let actions = scheduler.runToEnd()
    #expect(actions.filter { if case .finish = $0 { true } else { false } }.count == 2)
    #expect(!actions.contains(.retract(id: "old")))
    #expect(scheduler.freePages == 6)
  }

  @Test func abortsEndAtOnceOrWithTheBatch() throws {
    var scheduler = try Scheduler(configuration(running: 1))
    try scheduler.submit(request("runs", new: 50))
    try scheduler.submit(request("waits"))
    _ = scheduler.step()
    #expect(scheduler.abort("nobody") == [])
    #expect(scheduler.abort("waits") == [.finish(id: "waits", .abort("Aborted"))])
    _ = scheduler.plan()
    #expect(scheduler.abort("runs") == [])
    #expect(scheduler.complete([.init(1)]) == [.finish(id: "runs", .abort("Aborted"))])
    #expect(scheduler.freePages == 64 && !scheduler.hasWork)
    try scheduler.submit(request("x"))
    try scheduler.submit(request("y"))
    _ = scheduler.step()
    #expect(scheduler.abort(nil).count == 2)
    #expect(scheduler.canFlush)
  }

  @Test(arguments: PauseMode.allCases) func pausing(_ mode: PauseMode) throws {
    var scheduler = try Scheduler(configuration())
    try scheduler.submit(request("a", new: 6))
    _ = scheduler.step()
    let held = scheduler.freePages
    let actions = scheduler.pause(mode)
    try scheduler.submit(request("late", new: 1))
    #expect(scheduler.plan() == SchedulerStep())
    switch mode {
    case .abort: #expect(actions == [.finish(id: "a", .abort("Aborted"))] && scheduler.canFlush)
    case .retract: #expect(actions == [.retract(id: "a")] && scheduler.canFlush && scheduler.freePages == 64)
    case .inPlace: #expect(actions == [] && !scheduler.canFlush && scheduler.freePages == held)
    }
    scheduler.resume()
    let finished = scheduler.runToEnd()
    #expect(finished.contains(.finish(id: "late", .length(1))))
    #expect(finished.contains(.finish(id: "a", .length(6))) == (mode != .abort))
  }

  @Test func pausingWaitsForTheBatchInFlight() throws {
    var scheduler = try Scheduler(configuration())
    try scheduler.submit(request("a"))
    _ = scheduler.plan()
    #expect(scheduler.pause(.retract) == [])
    #expect(scheduler.complete([.init(5)]) == [.retract(id: "a")])
    scheduler.resume()
    #expect(scheduler.plan().plan!.items[0].tokens == [1, 2, 3, 5])
  }

  @Test func impossibleLimitsAreRefused() {
    for bad in [configuration(pageSize: 0), configuration(pages: 0), configuration(running: 33)] {
      #expect(throws: InvalidSchedulerConfiguration.self) { try Scheduler(bad) }
    }
  }

  @Test func leaksAndDoubleOwnersAreFound() throws {
    var allocator = PageAllocator(pageCount: 4)
    let held = allocator.allocate(3)!
    #expect(allocator.allocate(2) == nil && allocator.freeCount == 1)
    try allocator.checkConservation(held: held)
    #expect(throws: PageAccountingError.self) { try allocator.checkConservation(held: held.dropLast()) }
    #expect(throws: PageAccountingError.self) { try allocator.checkConservation(held: held + [held[0]]) }
    allocator.free(held)
    try allocator.checkConservation(held: [])
  }
}
