import Inference
import TestSupport
import Testing

/// How the scheduler shares the places that a batch has for adapters.
@Suite struct AdapterSchedulingTests {
  private func scheduler(_ most: Int, running: Int = 8) throws -> Scheduler {
    var limits = configuration(running: running)
    limits.maxAdaptersPerBatch = most
    return try Scheduler(limits)
  }

  @Test func oneWithoutAPlaceLetsOnlyThoseWithoutAdaptersPass() throws {
    var scheduler = try scheduler(1)
    try scheduler.submit(request("a", new: 6), adapter: 1)
    try scheduler.submit(request("b", new: 2), adapter: 2)
    try scheduler.submit(request("a2", new: 2), adapter: 1)
    try scheduler.submit(request("plain", new: 2))
    #expect(scheduler.step().plan?.items.map(\.id) == ["a", "plain"])
    for _ in 0..<4 { _ = scheduler.step() }
    #expect(scheduler.step().actions == [.finish(id: "a", .length(6))])
    #expect(scheduler.step().plan?.items.map(\.id) == ["b"])
    _ = scheduler.step()
    #expect(scheduler.step().plan?.items.map(\.id) == ["a2"])
  }

  @Test func adaptersDoNotShareWhatIsComputed() throws {
    var scheduler = try scheduler(4)
    for adapter in [nil, 1, 2] as [Int?] {
      try scheduler.submit(request("first", prompt: 9, new: 1), adapter: adapter)
      #expect(scheduler.step().plan?.items[0].start == 0)
      try scheduler.submit(request("second", prompt: 9, new: 1), adapter: adapter)
      #expect(scheduler.step().plan?.items[0].start == 8)
    }
  }

  /// Any mixture ends, within the limit, with nothing leaked.
  @Test(arguments: 0..<20) func anyMixtureEnds(seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    let most = Int.random(in: 1...3, using: &random)
    var scheduler = try scheduler(most, running: Int.random(in: 1...8, using: &random))
    var open: Set<String> = []
    var adapters: [String: Int] = [:]
    for i in 0..<60 {
      var new = request("r\(i)", prompt: Int.random(in: 1...20, using: &random), new: Int.random(in: 1...20, using: &random))
      new.priority = Int.random(in: 0...2, using: &random)
      let adapter = Bool.random(using: &random) ? Int.random(in: 1...6, using: &random) : nil
      try scheduler.submit(new, adapter: adapter)
      adapters[new.id] = adapter
      open.insert(new.id)
    }
    for _ in 0..<5000 where scheduler.hasWork {
      let (plan, actions) = scheduler.step()
      #expect(Set(plan?.items.compactMap(\.adapter) ?? []).count <= most)
      for item in plan?.items ?? [] { #expect(item.adapter == adapters[item.id]) }
      for case .finish(let id, _) in actions { open.remove(id) }
      try scheduler.checkIntegrity()
    }
    #expect(open.isEmpty && scheduler.freePages == 64)
  }
}
