import Distributed
import Foundation
import Orchestration

/// The process that tests start: as a worker, as a driver that is to be killed, or as one that trains.
@main
struct OrchestrationTestWorker {
  static func main() async throws {
    let arguments = CommandLine.arguments
    switch arguments.dropFirst().first {
    case "worker":
      do {
        try await serve(as: ProcessName(arguments[3], Int(arguments[5])!))
      } catch {
        FileHandle.standardError.write(Data("\(error)\n".utf8))
        exit((error as? any ExitCodeError)?.exitCode ?? 1)
      }
    case "driver": try await drive()
    case "measure": try await measure()
    case "train":
      do {
        let data = try Data(contentsOf: URL(fileURLWithPath: arguments[2]))
        let configuration = try JSONDecoder().decode(TrainConfiguration.self, from: data)
        try configuration.validate()
        setenv(loopVariable, "1", 1)
        try await TrainingLoop.run(configuration)
      } catch {
        FileHandle.standardError.write(Data("\(error)\n".utf8))
        exit((error as? any ExitCodeError)?.exitCode ?? 1)
      }
    default: exit(2)
    }
  }

  /// Tells workers that they are those of the training loop.
  private static let loopVariable = "SLIME_TEST_LOOP"

  static func serve(as name: ProcessName) async throws {
    if name.role == "garbled" {
      let bytes = [UInt8](repeating: 0xEE, count: 100)
      _ = write(3, bytes, bytes.count)
      while true { sleep(60) }
    }
    if ProcessInfo.processInfo.environment[loopVariable] != nil { return try await WorkerRole.serve(name) }
    try await WorkerProcess.serve(as: name) { controlPlane in
      switch name.role {
      case "late": try await Task.sleep(for: .seconds(30))
      case "mistaken": throw UserMistake(description: "there is no folder models/x; give one with --hf-checkpoint")
      case "crashing": _exit(7)
      default: break
      }
      return [Echo(actorSystem: controlPlane), Blocking(actorSystem: controlPlane)]
        + (name.role == WorkerRole.trainer ? [TrainerActor(actorSystem: controlPlane)] : [])
    }
  }

  /// Starts two workers and a grandchild, prints their process numbers, and waits to be ended.
  static func drive() async throws {
    let supervisor = Supervisor(controlPlane: ControlPlane())
    supervisor.endOnTerminationSignals()
    try await supervisor.start((0..<2).map { WorkerSpecification(ProcessName("echo", $0)) })
    let workers = try supervisor.resolveAll(Echo.self, role: "echo")
    let pids = [try await workers[0].pid(), try await workers[1].pid(), try await workers[0].grandchild()]
    FileHandle.standardOutput.write(Data((pids.map(String.init).joined(separator: " ") + "\n").utf8))
    try await withDeadline(nil) { try await workers[0].sleep(60) }
  }

  /// Prints the time of a call, and the bytes a second of large arguments.
  static func measure() async throws {
    let supervisor = Supervisor(controlPlane: ControlPlane())
    try await supervisor.start([WorkerSpecification(ProcessName("echo"))])
    let echo = try supervisor.resolve(Echo.self, on: ProcessName("echo"))
    let clock = ContinuousClock()
    for calls in [100, 10_000] {
      let time = try await clock.measure { for _ in 0..<calls { _ = try await echo.count(1) } }
      print("\(calls) calls one after another: \(time / calls) a call")
    }
    let concurrent = try await clock.measure {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<100 { group.addTask { for _ in 0..<100 { _ = try await echo.count(1) } } }
        try await group.waitForAll()
      }
    }
    print("10000 calls, 100 at a time: \(concurrent / 10_000) a call")
    let floats = [Float](repeating: 1, count: 8 << 20)
    let large = try await clock.measure { for _ in 0..<10 { _ = try await echo.floats(floats) } }
    let seconds = Double(large.components.attoseconds) * 1e-18 + Double(large.components.seconds)
    print("32 MiB there and back: \(Int(640 * 1.048576 / seconds)) MB/s")
    await supervisor.shutDown()
  }
}
