import Foundation
import Orchestration
import Synchronization
import Testing

private actor Counter {
  private let executor: ThreadExecutor
  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
  private var count = 0

  init(_ executor: ThreadExecutor) { self.executor = executor }

  func add() -> pthread_t {
    count += 1
    return pthread_self()
  }

  func total() -> Int { count }
  nonisolated func totalWithoutAwait() -> Int { assumeIsolated { $0.count } }
  func viaAssumption() -> Int { totalWithoutAwait() }
}

@Test func jobsOfAllActorsRunOnOneThread() async {
  let executor = ThreadExecutor(name: "engine of tests")
  let (a, b) = (Counter(executor), Counter(executor))
  let threads = await withTaskGroup(of: pthread_t.self) { group in
    for i in 0..<2_000 { group.addTask { await (i % 2 == 0 ? a : b).add() } }
    return await group.reduce(into: Set<pthread_t>()) { $0.insert($1) }
  }
  #expect(threads.count == 1)
  #expect(await a.total() + b.total() == 2_000)
  #expect(await a.viaAssumption() == 1_000)
}

@Test func theThreadEndsWithItsExecutor() async throws {
  func threads() -> Int { ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []).count }
  let before = threads()
  var executors: [ThreadExecutor]? = (0..<50).map { ThreadExecutor(name: "short \($0)") }
  while threads() < before + 40 { try await Task.sleep(for: .milliseconds(5)) }
  _ = executors
  executors = nil
  let clock = ContinuousClock()
  let start = clock.now
  while threads() > before + 25 && clock.now - start < .seconds(5) { try await Task.sleep(for: .milliseconds(5)) }
  #expect(threads() <= before + 25)
}
