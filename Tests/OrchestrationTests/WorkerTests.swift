import Distributed
import Foundation
import Observability
import Orchestration
import OrchestrationTestWorker
import Synchronization
import Testing

/// The executable beside the test bundle.
let testWorker = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
  .appendingPathComponent("OrchestrationTestWorker").path

/// Lines and deaths that a supervisor reported.
final class Reports: Sendable {
  private let state = Mutex((lines: [String](), deaths: [String]()))
  var lines: [String] { state.withLock(\.lines) }
  var deaths: [String] { state.withLock(\.deaths) }
  func add(line: String) { state.withLock { $0.lines.append(line) } }
  func add(death: WorkerDeath) { state.withLock { $0.deaths.append("\(death)") } }
}

func makeSupervisor(_ reports: Reports = Reports(), heartbeatDeadline: Duration? = nil) -> Supervisor {
  Supervisor(
    controlPlane: ControlPlane(defaultDeadline: .seconds(20)),
    command: WorkerCommand(executable: testWorker), heartbeatDeadline: heartbeatDeadline,
    output: { reports.add(line: "\($0.role) \($0.rank) \($1) \($2)") }, onDeath: { reports.add(death: $0) })
}

/// Runs `body` with `count` echo workers.
func withEchoes(_ count: Int, _ reports: Reports = Reports(), _ body: (Supervisor, [Echo]) async throws -> Void) async throws {
  let supervisor = makeSupervisor(reports)
  try await supervisor.start((0..<count).map { WorkerSpecification(ProcessName("echo", $0), environment: ["RANK": "\($0)"]) })
  do {
    try await body(supervisor, try supervisor.resolveAll(Echo.self, role: "echo"))
  } catch {
    await supervisor.shutDown()
    throw error
  }
  await supervisor.shutDown()
}

/// `R`, `S`, `T` for stopped, `Z` for dead and not reaped; nil for a process that is gone.
func processState(_ pid: Int32) -> Character? {
  guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return nil }
  return stat[stat.lastIndex(of: ")")!...].dropFirst(2).first
}

func isAlive(_ pid: Int32) -> Bool { ![nil, "Z"].contains(processState(pid)) }

/// Stops a process, and returns when it has stopped: the signal alone leaves it time for an answer.
func stop(_ pid: Int32) async throws {
  kill(pid, SIGSTOP)
  let hasStopped = try await waitUntil(within: 5) { processState(pid) == "T" }
  try #require(hasStopped)
}

func waitUntil(within seconds: Double, _ condition: () -> Bool) async throws -> Bool {
  let end = ContinuousClock.now + .seconds(seconds)
  while ContinuousClock.now < end {
    if condition() { return true }
    try await Task.sleep(for: .milliseconds(10))
  }
  return condition()
}

@Suite(.serialized) struct WorkerTests {
  @Test func callsGoBothWays() async throws {
    try await withEchoes(2) { supervisor, echoes in
      let pids = [try await echoes[0].pid(), try await echoes[1].pid()]
      #expect(Set(pids + [getpid()]).count == 3)
      #expect(try await echoes[1].environment("RANK") == "1")
      let listener = Listener(actorSystem: supervisor.controlPlane)
      #expect(try await echoes[0].relay("hi", to: listener) == "relayed: HI")
      let error = await #expect(throws: RemoteError.self) { try await echoes[1].relay("bad", to: listener) }
      #expect(error?.exitCode == 2 && error?.worker == "echo rank 1 (pid \(pids[1]))", "\(String(describing: error))")
      #expect(throws: UnreachableActor.self) { try supervisor.resolve(Listener.self, on: ProcessName("echo", 0)) }
      #expect(throws: UnreachableActor.self) { try supervisor.resolve(Echo.self, on: ProcessName("echo", 9)) }
      // stdin, stdout, stderr, the connection, last words, and the directory being listed; dispatch and epoll may add a few.
      #expect(try await echoes[0].openDescriptors() < 12)
    }
  }

  @Test func manyCallsAtOnce() async throws {
    try await withEchoes(2) { _, echoes in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for task in 0..<100 { group.addTask { for _ in 0..<100 { _ = try await echoes[task % 2].count(1) } } }
        try await group.waitForAll()
      }
      #expect(try await echoes[0].count(0) + echoes[1].count(0) == 10_000)
    }
  }

  @Test func largeArgumentsAmongSmallOnes() async throws {
    try await withEchoes(1) { _, echoes in
      let floats = (0..<(4 << 20)).map { Float($0) }
      async let large = withThrowingTaskGroup(of: Bool.self) { group in
        for _ in 0..<3 { group.addTask { try await echoes[0].floats(floats) == floats } }
        return try await group.reduce(true) { $0 && $1 }
      }
      for _ in 0..<100 { _ = try await echoes[0].count(1) }
      #expect(try await large)
      #expect(try await echoes[0].count(0) == 100)
    }
  }

  @Test func aKilledWorkerFailsItsCallsAtOnceAndEndsTheOthers() async throws {
    let reports = Reports()
    try await withEchoes(3, reports) { _, echoes in
      let pids = [try await echoes[0].pid(), try await echoes[1].pid(), try await echoes[2].pid()]
      let grandchild = try await echoes[1].grandchild()
      let sleepers = echoes.map { echo in Task { try await withDeadline(nil) { try await echo.sleep(60) } } }
      try await Task.sleep(for: .milliseconds(50))
      let start = ContinuousClock.now
      kill(pids[1], SIGKILL)
      let died = "echo rank 1 (pid \(pids[1])) was killed by signal 9 (SIGKILL)"
      for (rank, sleeper) in sleepers.enumerated() {
        let death = await #expect(throws: WorkerDeath.self) { try await sleeper.value }
        let expected = rank == 1 ? died : "echo rank \(rank) (pid \(pids[rank])) was ended because \(died)"
        #expect(death?.description == expected)
      }
      #expect(ContinuousClock.now - start < .seconds(1))
      await #expect(throws: WorkerDeath.self) { try await echoes[0].nothing() }
      #expect(reports.deaths == [died])
      #expect(try await waitUntil(within: 2) { !(pids + [grandchild]).contains(where: isAlive) })
    }
  }

  @Test func aWorkerThatIsNotEssentialCanBeReplaced() async throws {
    let supervisor = makeSupervisor()
    let name = ProcessName("engine")
    try await supervisor.start([
      WorkerSpecification(name, isEssential: false), WorkerSpecification(ProcessName("trainer")),
    ])
    let (engine, trainer) = (
      try supervisor.resolve(Echo.self, on: name), try supervisor.resolve(Echo.self, on: ProcessName("trainer"))
    )
    await #expect(throws: UnreachableActor.self) { try await supervisor.start([WorkerSpecification(name)]) }
    let death = await #expect(throws: WorkerDeath.self) { try await engine.say([], thenExit: 3) }
    #expect(death?.status == .code(3))
    try await trainer.nothing()
    #expect(try await waitUntil(within: 2) { (try? supervisor.resolve(Echo.self, on: name)) == nil })
    try await Task.sleep(for: .milliseconds(100))
    try await supervisor.start([WorkerSpecification(name, isEssential: false)])
    try await engine.nothing()
    let deaths = await supervisor.shutDown()
    #expect(deaths.map(\.status) == [.code(0), .code(0)], "\(deaths)")
  }

  @Test func whatWorkersPrintIsPassedOnToTheLastLine() async throws {
    let reports = Reports()
    try await withEchoes(1, reports) { _, echoes in
      let lines = (0..<5_000).map { "line \($0) é" }
      await #expect(throws: WorkerDeath.self) { try await echoes[0].say(lines, thenExit: 5) }
      let isComplete = try await waitUntil(within: 2) { reports.lines.count == 5_001 && !reports.deaths.isEmpty }
      #expect(isComplete)
      #expect(reports.lines.filter { $0.hasPrefix("echo 0 output ") } == lines.map { "echo 0 output \($0)" })
      #expect(reports.lines.contains("echo 0 errors to stderr"))
      #expect(reports.deaths.first?.hasSuffix("exited with code 5") == true, "\(reports.deaths)")
    }
  }

  @Test func aHungWorkerIsFoundByItsHeartbeat() async throws {
    let supervisor = makeSupervisor(heartbeatDeadline: .milliseconds(400))
    try await supervisor.start([WorkerSpecification(ProcessName("echo"))])
    let echo = try supervisor.resolve(Echo.self, on: ProcessName("echo"))
    let pid = try await echo.pid()
    // Busy is not hung.
    try await echo.sleep(0.8)
    try await stop(pid)
    let death = await #expect(throws: WorkerDeath.self) { try await echo.nothing() }
    #expect(death?.description == "echo rank 0 (pid \(pid)) did not answer for 400 ms and was ended")
    await supervisor.shutDown()
  }

  @Test func startNamesTheWorkerThatIsLate() async throws {
    let reports = Reports()
    let supervisor = makeSupervisor(reports)
    let error = await #expect(throws: WorkersNotReady.self) {
      try await supervisor.start(
        [WorkerSpecification(ProcessName("echo")), WorkerSpecification(ProcessName("late", 2))], deadline: .seconds(4))
    }
    #expect(error?.description.hasPrefix("not ready within 4 s: late rank 2 (pid ") == true, "\(String(describing: error))")
  }

  @Test(arguments: [
    ("mistaken", "could not start: there is no folder", Int32(2)), ("crashing", "exited with code 7", 1),
    ("garbled", "sent what cannot be read (a frame of unknown kind 238) and was ended", 1),
  ])
  func startTellsWhyAWorkerEnded(role: String, sentence: String, exitCode: Int32) async throws {
    let supervisor = makeSupervisor()
    let death = await #expect(throws: WorkerDeath.self) {
      try await supervisor.start([WorkerSpecification(ProcessName("echo")), WorkerSpecification(ProcessName(role, 1))])
    }
    #expect(death?.worker == ProcessName(role, 1))
    #expect(death?.description.contains(sentence) == true, "\(String(describing: death))")
    #expect(death?.exitCode == exitCode)
  }

  @Test func aWorkerThatDoesNotShutDownIsKilled() async throws {
    let supervisor = makeSupervisor()
    try await supervisor.start([WorkerSpecification(ProcessName("echo"))])
    let pid = try await supervisor.resolve(Echo.self, on: ProcessName("echo")).pid()
    try await stop(pid)
    let deaths = await supervisor.shutDown(deadline: .milliseconds(300))
    #expect(deaths.map(\.description) == ["echo rank 0 (pid \(pid)) did not shut down within 300 ms and was ended"])
  }

  @Test func aWorkerStartedByHandSaysSo() throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: testWorker)
    process.arguments = ["worker", "--role", "echo", "--rank", "0"]
    let pipe = Pipe()
    process.standardError = pipe
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == 2)
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    #expect(text.contains("started by the program itself"))
  }
}

@Suite(.serialized) struct DriverTests {
  /// Starts a driver and returns it with the process numbers of its workers and grandchild.
  private func startDriver() throws -> (process: Process, pids: [Int32], errors: FileHandle) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: testWorker)
    process.arguments = ["driver"]
    let (output, errors) = (Pipe(), Pipe())
    (process.standardOutput, process.standardError) = (output, errors)
    try process.run()
    let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
    let pids = line.split(whereSeparator: \.isWhitespace).compactMap { Int32($0) }
    try #require(pids.count == 3, "\(line)")
    return (process, pids, errors.fileHandleForReading)
  }

  @Test func workersEndWithAKilledDriverAndSaySo() async throws {
    let (driver, pids, errors) = try startDriver()
    kill(driver.processIdentifier, SIGKILL)
    #expect(try await waitUntil(within: 2) { !pids.contains(where: isAlive) }, "\(pids.filter(isAlive)) still run")
    let text = String(decoding: errors.readDataToEndOfFile(), as: UTF8.self)
    for rank in 0..<2 {
      #expect(text.contains("echo rank \(rank) (pid \(pids[rank])) ends: the driver (pid \(driver.processIdentifier)) is gone\n"))
    }
  }

  @Test(arguments: [SIGINT, SIGTERM])
  func terminationSignalsEndTheWorkersInOrder(signal: Int32) async throws {
    let (driver, pids, errors) = try startDriver()
    kill(driver.processIdentifier, signal)
    #expect(try await waitUntil(within: 5) { !pids.contains(where: isAlive) && !driver.isRunning })
    let text = String(decoding: errors.readDataToEndOfFile(), as: UTF8.self)
    #expect(driver.terminationReason == .exit && driver.terminationStatus == 128 + signal, "\(text)")
    #expect(!text.contains("is gone"))
  }
}
