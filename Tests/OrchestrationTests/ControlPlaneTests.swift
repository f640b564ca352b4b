import Distributed
import Foundation
import Orchestration
import OrchestrationTestWorker
import Testing

/// Two control planes of one process, connected.
private func pair(defaultDeadline: Duration? = .seconds(20)) -> (driver: ControlPlane, worker: ControlPlane) {
  let driver = ControlPlane(defaultDeadline: defaultDeadline)
  let worker = ControlPlane(process: ProcessName("trainer", 1), defaultDeadline: defaultDeadline)
  InProcessTransport.connect(driver, worker)
  return (driver, worker)
}

@Test func callsTravelBetweenControlPlanes() async throws {
  let (driver, worker) = pair()
  let local = Echo(actorSystem: worker)
  let remote = try Echo.resolve(id: local.id, using: driver)
  #expect(try await remote.count(2) == 2)
  #expect(try await remote.count(3) == 5)
  #expect(try await local.count(1) == 6)
  let batch = Batch(tokens: [[1, 2], []], rewards: [0.5], labels: ["a": nil, "b": "c"])
  #expect(try await remote.batch(batch) == batch)
  try await remote.nothing()
}

@Test func actorsTravelAsReferences() async throws {
  let (driver, worker) = pair()
  let listener = Listener(actorSystem: driver)
  let echo = Echo(actorSystem: worker)
  let remote = try Echo.resolve(id: echo.id, using: driver)
  #expect(try await remote.relay("hi", to: listener) == "relayed: HI")
}

@Test func errorsArriveWithTheirSentenceAndExitCode() async throws {
  let (driver, worker) = pair()
  let echo = Echo(actorSystem: worker)
  let listener = Listener(actorSystem: driver)
  let remote = try Echo.resolve(id: echo.id, using: driver)
  let mistake = await #expect(throws: RemoteError.self) { try await remote.fail(asUser: true) }
  #expect(mistake?.exitCode == 2)
  #expect(mistake.map { "\($0)" } == "--lr -1 is negative; write a number above 0")
  let other = await #expect(throws: RemoteError.self) { try await remote.fail(asUser: false) }
  #expect(other?.exitCode == 1)
  #expect(other?.actor == "Echo")
  #expect(other.map { "\($0)" }?.hasPrefix("trainer rank 1, Echo.fail(asUser:): ") == true, "\(other!)")
  // A code survives two trips.
  let relayed = await #expect(throws: RemoteError.self) { try await remote.relay("bad", to: listener) }
  #expect(relayed?.exitCode == 2)
}

@Test func missingActorsAndConnectionsAreNamed() async throws {
  let (driver, worker) = pair()
  let echo = Echo(actorSystem: worker)
  let nobody = try Echo.resolve(id: ActorAddress(process: worker.process, name: "Critic"), using: driver)
  let missing = await #expect(throws: RemoteError.self) { try await nobody.nothing() }
  #expect(missing?.message == "there is no actor Critic on trainer rank 1 (it has Echo)")
  let nowhere = try Echo.resolve(id: ActorAddress(process: ProcessName("engine", 3), name: "Echo"), using: driver)
  let unconnected = await #expect(throws: UnreachableActor.self) { try await nowhere.nothing() }
  #expect(unconnected?.description == "driver has no connection to engine rank 3, where Echo lives")
  #expect(throws: UnreachableActor.self) { try Listener.resolve(id: echo.id, using: worker) }
}

@Test func namesAreUniqueAndCanBeChosen() throws {
  let plane = ControlPlane()
  let (first, second) = (Echo(actorSystem: plane), Echo(actorSystem: plane))
  #expect([first.id.name, second.id.name] == ["Echo", "Echo-2"])
  let critic = plane.named("critic") { Echo(actorSystem: $0) }
  #expect(critic.id.name == "critic")
  #expect(try Echo.resolve(id: critic.id, using: plane) === critic)
}

@Test func deadlinesNameWorkerAndMethod() async throws {
  let (driver, worker) = pair(defaultDeadline: .milliseconds(50))
  let echo = Echo(actorSystem: worker)
  let remote = try Echo.resolve(id: echo.id, using: driver)
  let late = await #expect(throws: DeadlineExceeded.self) { try await remote.sleep(30) }
  #expect(late?.description == "trainer rank 1 did not answer Echo.sleep(_:) within 50 ms")
  try await withDeadline(.seconds(5)) { try await remote.sleep(0.1) }
  try await withDeadline(nil) { try await remote.sleep(0.1) }
  await #expect(throws: DeadlineExceeded.self) { try await withDeadline(.milliseconds(1)) { try await remote.sleep(1) } }
}

@Test func cancellingTheCallerCancelsTheMethod() async throws {
  let (driver, worker) = pair()
  let echo = Echo(actorSystem: worker)
  let remote = try Echo.resolve(id: echo.id, using: driver)
  let task = Task { try await remote.sleep(30) }
  try await Task.sleep(for: .milliseconds(50))
  task.cancel()
  await #expect(throws: CancellationError.self) { try await task.value }
  // The method would have set the count to -1 at its end; it is cancelled, and the actor is free.
  #expect(try await remote.count(1) == 1)
}

@Test func blockingWorkStaysOffTheCooperativePool() async throws {
  // More blocked actors than the pool has threads; were they on it, the calls after them would never be made.
  let count = ProcessInfo.processInfo.activeProcessorCount * 2 + 2
  let planes = (0..<count).map { ControlPlane(process: ProcessName("trainer", $0)) }
  let actors = planes.map { Blocking(actorSystem: $0) }
  let driver = ControlPlane()
  for plane in planes { driver.connect(plane.process, through: InProcessTransport(to: plane)) }
  let passing = try actors.map { actor in
    let remote = try Blocking.resolve(id: actor.id, using: driver)
    return Task { try await remote.passGate() }
  }
  let entered = await Task.detached { (0..<count).allSatisfy { _ in entersGate() } }.value
  #expect(entered)
  let echo = Echo(actorSystem: planes[0])
  #expect(try await Echo.resolve(id: echo.id, using: driver).count(1) == 1)
  for _ in actors { gate.opened.signal() }
  for task in passing { #expect(Set(try await task.value).count == 1) }
}

private func entersGate() -> Bool { gate.entered.wait(timeout: .now() + 5) == .success }
