import Distributed
@preconcurrency import Foundation

/// The worker's side: what the hidden subcommand of the executable runs.
public enum WorkerProcess {
  /// Makes the actors of this worker, announces them to the driver, and serves calls until the driver asks it to end.
  ///
  /// When the driver is gone, however it ended, the process prints one sentence to the driver's stderr and ends at once,
  /// together with all that it started.
  /// - Parameter makeActors: what it returns lives as long as the process, and can be resolved by the driver.
  /// - Throws: what `makeActors` throws, after the driver has been told.
  public static func serve(
    as name: ProcessName, defaultDeadline: Duration? = .seconds(60),
    makeActors: (ControlPlane) async throws -> [any DistributedActor]
  ) async throws {
    guard isSocket(SpawnedProcess.connectionDescriptor) else { throw NotStartedByDriver() }
    setlinebuf(stdout)
    signal(SIGPIPE, SIG_IGN)
    let lastWords = FileDescriptor(SpawnedProcess.lastWordsDescriptor)
    let connection = FrameConnection(FileDescriptor(SpawnedProcess.connectionDescriptor), name: "driver")
    let controlPlane = ControlPlane(process: name, defaultDeadline: defaultDeadline)
    let driver = getppid()
    let transport = SocketTransport(connection, peer: "the driver (pid \(driver))", controlPlane: controlPlane)
    controlPlane.connect(.driver, through: transport)
    let shutdown = Latch<Void>()
    connection.start(
      onFrame: { frame in
        // Later calls are answered by the end of this process.
        if frame.kind == .call && shutdown.value != nil { return }
        if !transport.receive(frame) && frame.kind == .shutdown { shutdown.set(()) }
      },
      onEnd: { problem in
        if shutdown.value != nil { return }
        let cause = problem.map { "sent what cannot be read (\($0))" } ?? "is gone"
        lastWords.write("\(name) (pid \(getpid())) ends: the driver (pid \(driver)) \(cause)\n".utf8)
        if getsid(0) == getpid() { ProcessSession(getpid()).kill() }
        _exit(1)
      })
    do {
      let actors = try await makeActors(controlPlane)
      controlPlane.keep(actors)
      let names = actors.compactMap { ($0.id as? ActorAddress)?.name }
      try connection.send(Frame(kind: .ready, head: try BinaryEncoder().encode(names)))
      await shutdown.wait()
    } catch {
      try? transport.sendFailure(CallFailure(error), .unable)
      await drain(connection)
      throw error
    }
    await drain(connection)
  }

  private static func drain(_ connection: FrameConnection) async {
    let done = Latch<Void>()
    startThread("drain") {
      connection.drain()
      done.set(())
    }
    await done.wait()
  }

  private static func isSocket(_ descriptor: Int32) -> Bool {
    var status = stat()
    return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
  }
}

/// The worker subcommand was called by hand.
public struct NotStartedByDriver: ExitCodeError, CustomStringConvertible, Sendable {
  public var exitCode: Int32 { 2 }
  public var description: String { "this command is started by the program itself for its worker processes; use another one" }
}
