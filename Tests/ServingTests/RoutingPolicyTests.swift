import JSON
import Serving
import TestSupport
import Testing

@Suite struct RoutingPolicyTests {
  private func candidates(_ ids: some Sequence<Int>, load: Int = 0) -> [RoutingCandidate] {
    ids.map { RoutingCandidate(id: "w\($0)", load: load) }
  }

  private func homes(_ workers: [RoutingCandidate], keys: Int) -> [String] {
    var policy = RoutingPolicy(.consistentHashing)
    return (0..<keys).map { workers[policy.choose(RoutingKey(name: "session-\($0)", text: ""), among: workers)].id }
  }

  /// A worker that comes takes its share of the keys and no others move; one that goes leaves all others' in place. The
  /// workers' order does not matter.
  @Test func consistentHashingMovesFewKeys() {
    let keys = 4000
    for count in [2, 5, 16] {
      let before = homes(candidates(0..<count), keys: keys)
      for worker in 0..<count {
        let share = Double(before.count { $0 == "w\(worker)" }) / Double(keys) * Double(count)
        #expect((0.7...1.3).contains(share), "w\(worker) of \(count) has \(share) of its share")
      }
      #expect(homes(candidates((0..<count).reversed()), keys: keys) == before)
      let more = homes(candidates(0...count), keys: keys)
      #expect(zip(before, more).allSatisfy { $0 == $1 || $1 == "w\(count)" })
      let moved = Double(zip(before, more).count { $0 != $1 }) / Double(keys) * Double(count + 1)
      #expect((0.7...1.3).contains(moved))
      let fewer = homes(candidates(1..<count), keys: keys)
      #expect(zip(before, fewer).allSatisfy { $0 == $1 || $0 == "w0" })
    }
    var policy = RoutingPolicy(.consistentHashing)
    let ten = candidates(0..<10)
    let places = (0..<100).map { policy.choose(RoutingKey(tokens: [1, 2, $0]), among: ten) }
    #expect(Set(places).count > 5)
    #expect(places == (0..<100).map { policy.choose(RoutingKey(tokens: [1, 2, $0]), among: ten) })
  }

  @Test func simplePolicies() {
    var turns = RoutingPolicy(.roundRobin)
    #expect((0..<7).map { _ in turns.choose(RoutingKey(text: "a"), among: candidates(0..<3)) } == [0, 1, 2, 0, 1, 2, 0])
    var random = SeededGenerator(state: 3)
    var (least, two, any) = (RoutingPolicy(.leastLoad), RoutingPolicy(.powerOfTwo), RoutingPolicy(.random))
    var (seenLeast, seenTwo, seenAny) = (Set<Int>(), [Int](), Set<Int>())
    for _ in 0..<500 {
      let workers = (0..<6).map { RoutingCandidate(id: "\($0)", load: Int.random(in: 0...3, using: &random)) }
      let choice = least.choose(RoutingKey(text: ""), among: workers)
      #expect(workers[choice].load == workers.map(\.load).min())
      seenLeast.insert(choice)
      // Of two drawn the less loaded one: the most loaded of three wins only when drawn twice.
      seenTwo.append(two.choose(RoutingKey(text: ""), among: [0, 1, 9].map { RoutingCandidate(id: "\($0)", load: $0) }))
      seenAny.insert(any.choose(RoutingKey(text: ""), among: workers))
    }
    #expect(seenLeast.count == 6 && seenAny.count == 6)
    #expect((20...100).contains(seenTwo.count { $0 == 2 }) && seenTwo.count { $0 == 0 } > 200)
  }

  /// The group of a prompt stays with the worker that has it until loads are far apart, by both thresholds.
  @Test func cacheAwarePrefersTheHolderUntilImbalance() {
    var random = SeededGenerator(state: 5)
    var limits = CacheAwareLimits()
    (limits.balanceAbsThreshold, limits.balanceRelThreshold, limits.cacheThreshold) = (8, 2, 0.5)
    for _ in 0..<100 {
      var policy = RoutingPolicy(.cacheAware, limits: limits)
      let prefix = (0..<Int.random(in: 20...60, using: &random)).map { _ in Int.random(in: 0...9, using: &random) }
      var workers = candidates(0..<4)
      let holder = policy.choose(RoutingKey(tokens: prefix), among: workers)
      for load in 0...20 {
        workers[holder].load = load
        let prompt = prefix + (0..<Int.random(in: 0..<prefix.count, using: &random)).map { _ in Int.random(in: 10...99, using: &random) }
        let choice = policy.choose(RoutingKey(tokens: prompt), among: workers)
        #expect((choice == holder) == (load <= 8), "load \(load)")
      }
      // Far apart, but not by the factor: the holder again, once it alone is known to have the prompt.
      var fresh = RoutingPolicy(.cacheAware, limits: limits)
      for index in workers.indices { workers[index].load = 20 }
      let home = fresh.choose(RoutingKey(tokens: prefix), among: workers)
      workers[home].load = 35
      #expect(fresh.choose(RoutingKey(tokens: prefix), among: workers) == home)
      workers[home].load = 41
      #expect(fresh.choose(RoutingKey(tokens: prefix), among: workers) != home)
      // Known for less than half of it: the least loaded.
      workers[holder].load = 21
      let longer = prefix + Array(repeating: 1000, count: prefix.count * 2)
      #expect(policy.choose(RoutingKey(tokens: longer), among: workers) != holder)
    }
  }

  @Test func keysOfBodies() {
    func key(_ text: String) -> RoutingKey { RoutingKey(name: nil, body: try? JSONValue(parsing: text)) }
    #expect(key(#"{"text":"ab"}"#) == RoutingKey(text: "ab") && key(#"{"prompt":["ab","c"]}"#) == RoutingKey(text: "ab"))
    #expect(key(#"{"input_ids":[[97,98],[1]]}"#) == RoutingKey(tokens: [97, 98]))
    #expect(RoutingKey(tokens: [97, 98]) != RoutingKey(text: "ab"))
    #expect(key("{}").prompt.isEmpty && key("[").prompt.isEmpty)
    #expect(key(#"{"messages":[{"role":"user","content":"a"}]}"#).prompt.count > 10)
  }

  @Test func circuitBreakers() {
    var limits = CircuitBreaker.Limits()
    (limits.failureThreshold, limits.successThreshold, limits.openSeconds, limits.windowSeconds) = (3, 2, 10, 60)
    let start = ContinuousClock.now
    func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }
    var breaker = CircuitBreaker(limits)
    for second in [0.0, 50, 100, 150] { breaker.failed(at: at(second)) }
    #expect(breaker.state(at: at(150)) == .closed, "failures far apart")
    breaker.failed(at: at(151))
    #expect(breaker.state(at: at(151)) == .open && breaker.state(at: at(160.9)) == .open)
    #expect(breaker.state(at: at(161)) == .halfOpen)
    breaker.succeeded(at: at(162))
    breaker.failed(at: at(163))
    #expect(breaker.state(at: at(164)) == .open && breaker.state(at: at(173)) == .halfOpen)
    breaker.succeeded(at: at(174))
    #expect(breaker.state(at: at(174)) == .halfOpen)
    breaker.succeeded(at: at(175))
    #expect(breaker.state(at: at(175)) == .closed)
  }
}

@Suite struct PrefixTreeTests {
  /// Against a list of all that was inserted.
  @Test func matchesTheLongestKnownPrefix() {
    for seed in 0..<20 as Range<UInt64> {
      var random = SeededGenerator(state: seed)
      var tree = PrefixTree(capacity: .max)
      var seen: [(key: [UInt32], worker: String)] = []
      let all = Set((0..<4).map { "w\($0)" })
      for _ in 0..<300 {
        let key = (0..<Int.random(in: 1...12, using: &random)).map { _ in UInt32.random(in: 0...2, using: &random) }
        let workers = all.filter { _ in Bool.random(using: &random) }
        let match = tree.match(key, among: workers)
        let lengths = seen.filter { workers.contains($0.worker) }.map { entry in
          (length: zip(entry.key, key).prefix { $0 == $1 }.count, worker: entry.worker)
        }
        let longest = lengths.map(\.length).max() ?? 0
        #expect(match?.length ?? 0 == longest)
        if let match { #expect(lengths.contains { $0.length == longest && $0.worker == match.worker }) }
        switch Int.random(in: 0..<20, using: &random) {
        case 0:
          let gone = all.randomElement(using: &random)!
          tree.remove(gone)
          seen.removeAll { $0.worker == gone }
        default:
          let worker = all.randomElement(using: &random)!
          tree.insert(key, worker: worker)
          seen.append((key, worker))
        }
        #expect(tree.isConsistent)
      }
      for worker in all { tree.remove(worker) }
      #expect(tree.size == 0)
    }
  }

  /// However much comes, the tree stays within its capacity, and keeps what is used.
  @Test func staysWithinItsCapacity() {
    var random = SeededGenerator(state: 9)
    var tree = PrefixTree(capacity: 2000)
    let used = (0..<500).map { _ in UInt32.random(in: 0...5, using: &random) }
    for _ in 0..<3000 {
      tree.insert((0..<Int.random(in: 1...200, using: &random)).map { _ in UInt32.random(in: 6...99, using: &random) }, worker: "a")
      tree.insert(used, worker: "b")
      #expect(tree.size <= 2000)
    }
    #expect(tree.isConsistent && tree.match(used, among: ["b"])?.length == 500)
    tree.insert(Array(repeating: 7, count: 5000), worker: "a")
    #expect(tree.size <= 2000 && tree.isConsistent)
  }
}
