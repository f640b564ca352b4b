import Distributed
import Foundation
import Orchestration
import OrchestrationTestWorker
import Synchronization
import Testing

/// Reads frames from a stream that carries `bytes` and then ends.
private func receive(_ bytes: [UInt8], _ onFrame: @escaping @Sendable (Frame) -> Void = { _ in }) async throws -> FrameError? {
  let (here, there) = try FileDescriptor.socketPair()
  let connection = FrameConnection(here, name: "test")
  return await withCheckedContinuation { continuation in
    connection.start(onFrame: onFrame, onEnd: { continuation.resume(returning: $0) })
    there.write(bytes)
    shutdown(there.number, Int32(SHUT_RDWR))
  }
}

@Test func framesArriveAsTheyWereSent() async throws {
  let frames = Frame.Kind.allCases.enumerated().map { index, kind in
    Frame(kind: kind, id: .max - UInt64(index), head: Array(repeating: 7, count: index), body: Array(repeating: 9, count: index * 30_000))
  }
  let received = Mutex<[Frame]>([])
  let (here, there) = try FileDescriptor.socketPair()
  let (sender, receiver) = (FrameConnection(here, name: "sender"), FrameConnection(there, name: "receiver"))
  await withCheckedContinuation { continuation in
    receiver.start(
      onFrame: { frame in
        let count = received.withLock { $0.append(frame); return $0.count }
        if count == 3 * frames.count { sender.close() }
      }, onEnd: { _ in continuation.resume() })
    sender.start(onFrame: { _ in }, onEnd: { _ in })
    for frame in frames + frames + frames { try? sender.send(frame) }
  }
  #expect(received.withLock { $0 } == frames + frames + frames)
  #expect(throws: FrameError.self) { try sender.send(Frame(kind: .call, head: [UInt8](repeating: 0, count: 2 << 20))) }
}

@Test func brokenStreamsEndWithASentence() async throws {
  let good = Frame(kind: .pong, head: [1, 2], body: [3]).prefix + [3]
  #expect(try await receive([]) == nil)
  #expect(try await receive(good + good) == nil)
  #expect(try await receive(good + [1, 2])?.description == "half a frame header")
  #expect(try await receive(good.dropLast())?.description == "half a frame (2 of 3 bytes)")
  #expect(try await receive([200] + good.dropFirst())?.description == "a frame of unknown kind 200")
  let huge = [1] + [UInt8](repeating: 255, count: 30)
  #expect(try await receive(huge)?.description == "a frame that announces 4294967295 + 4294967295 bytes")
}

/// Frames that no worker of ours sends reach an actor system with a live actor: it answers or ignores them.
@Test func damagedFramesNeverTrap() async throws {
  let plane = ControlPlane(process: ProcessName("trainer", 1))
  let echo = Echo(actorSystem: plane)
  struct Head: Codable {
    var process: ProcessName
    var actor: String
    var method: String
  }
  let method = "$s23OrchestrationTestWorker4EchoC5countyS2iYaKFTE"
  let head = try BinaryEncoder().encode(Head(process: plane.process, actor: "Echo", method: method))
  let argument = try BinaryEncoder().encode(5)
  let body = [UInt8(argument.count), 0, 0, 0] + argument
  for round in 0..<600 {
    var bytes: [UInt8] = []
    for _ in 0..<3 {
      var frame = Frame(kind: Frame.Kind.allCases.randomElement()!, id: .random(in: 0...3), head: head, body: body)
      if round % 3 == 0 { frame.kind = .call }
      if round % 2 == 0 { frame.head[.random(in: head.indices)] = .random(in: 0...255) }
      if round % 5 == 0 { frame.body[.random(in: body.indices)] = .random(in: 0...255) }
      bytes += frame.prefix + frame.body
    }
    if round % 7 == 0 { bytes[.random(in: bytes.indices)] = .random(in: 0...255) }
    let (here, there) = try FileDescriptor.socketPair()
    let connection = FrameConnection(here, name: "fuzz")
    let transport = SocketTransport(connection, peer: "fuzz", controlPlane: plane)
    await withCheckedContinuation { continuation in
      connection.start(onFrame: { _ = transport.receive($0) }, onEnd: { _ in continuation.resume() })
      there.write(bytes)
      shutdown(there.number, Int32(SHUT_WR))
    }
  }
  // The well-formed calls among them were executed.
  #expect(try await echo.count(0) > 0)
}
