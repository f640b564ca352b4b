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

  /// The folder that the system keeps for the thread while it lives.
  func thread() -> String {
    "/proc/" + ((try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")) ?? "")
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
  var counters = (0..<10).map { Counter(ThreadExecutor(name: "short \($0)")) }
  var threads: [String] = []
  for counter in counters { threads.append(await counter.thread()) }
  #expect(Set(threads).count == 10)
  #expect(threads.allSatisfy(FileManager.default.fileExists))
  counters = []
  let end = ContinuousClock.now + .seconds(5)
  while threads.contains(where: FileManager.default.fileExists) && ContinuousClock.now < end {
    try await Task.sleep(for: .milliseconds(5))
  }
  #expect(!threads.contains(where: FileManager.default.fileExists))
}
