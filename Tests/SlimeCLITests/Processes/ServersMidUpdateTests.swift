import Checkpoints
import Foundation
import HTTP
import Inference
import JSON
import NIOCore
import Orchestration
import Parallelism
import Synchronization
import TestSupport
import Testing
import Torch
import Training
import WeightSync

/// `slime serve` and a trainer's `slime worker`, one of which dies in the middle of an update over HTTP.
@Suite(.serialized) struct ServersMidUpdateTests {
  private static let ways: [UpdateWeightFromDistributed.Way] = [.broadcast(.cpu), .requests]

  /// A trainer's rank, at which a process is killed as it is asked for an export.
  private struct DoomedSource: WeightSource {
    let base: TrainerWeights
    let blow: (@Sendable () -> Void)?
    let place: Int
    private let count = Counter()

    init(_ base: TrainerWeights, at place: Int, _ blow: (@Sendable () -> Void)?) {
      (self.base, self.blow, self.place) = (base, blow, place)
    }

    func exportWeights(_ request: WeightRequest) async throws -> WeightExport {
      if count.next() == place { blow?() }
      return try await base.exportWeights(request)
    }

    func releaseWeights() async throws { try await base.releaseWeights() }
    func openWeightGroup(rankCount: Int, timeout: Duration) async throws -> Int {
      try await base.openWeightGroup(rankCount: rankCount, timeout: timeout)
    }
    func joinWeightGroup(_ place: WeightGroupPlace, timeout: Duration) async throws {
      try await base.joinWeightGroup(place, timeout: timeout)
    }
    func broadcastBucket(_ number: Int) async throws { try await base.broadcastBucket(number) }
    func leaveWeightGroup() async throws { try await base.leaveWeightGroup() }
  }

  /// Two servers of one model, and trainers of two others.
  private final class Place {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    let servers: [SlimeProcess]
    private(set) var addresses: [String] = []
    let supervisor = Supervisor(
      controlPlane: ControlPlane(), command: WorkerCommand(executable: SlimeProcess.executable.path))

    init() async throws {
      for seed in 1...3 { try writeTinyModel(to: folder.appendingPathComponent("model-\(seed)"), seed: UInt64(seed)) }
      servers = try [0, 1].map { [folder] _ in
        try SlimeProcess(["serve", "--model-path", "model-1", "--port", "0", "--max-total-tokens", "2048"], in: folder)
      }
      for server in servers {
        let isReady = try await holds(within: .seconds(30)) { !server.isRunning || server.output.contains("http://") }
        try #require(isReady && server.isRunning, "\(server.errors)")
        let line = server.output.split(separator: "\n").first { $0.contains("http://") }
        addresses.append(String(try #require(line?.split(separator: " ").last).dropFirst("http://".count)))
      }
      try await supervisor.start(
        [WorkerRole.trainer, WorkerRole.critic].map { WorkerSpecification(ProcessName($0), isEssential: false) })
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func trainer(_ role: String, model seed: Int) async throws -> TrainerActor {
      let trainers = try supervisor.resolveAll(TrainerActor.self, role: role)
      let options = try TrainingOptions(
        schedule: LearningRateSchedule(peak: 1e-3, decaySteps: 1), globalBatchSize: 1, batching: .fixed(microBatchSize: 1))
      let setup = TrainerSetup(
        folder: folder.appendingPathComponent("model-\(seed)").path, backend: .fsdp, layout: try ParallelLayout(worldSize: 1),
        options: options)
      try await TrainerGroup(trainers).start(
        setup, role: .actor, withRef: false, withOPDTeacher: false, devices: [Device.cpu])
      return trainers[0]
    }

    /// Kills at the third export.
    func update(
      _ trainer: TrainerActor, _ way: UpdateWeightFromDistributed.Way, killing pid: Int32? = nil
    ) throws -> UpdateWeightFromDistributed {
      var blow: (@Sendable () -> Void)?
      if let pid { blow = { _ = kill(pid, SIGKILL) } }
      return try UpdateWeightFromDistributed(
        sources: [DoomedSource(TrainerWeights(trainer, timeout: .seconds(30)), at: 2, blow)], engines: addresses,
        bufferSize: 10_000, dtype: .float32, way: way, timeout: .seconds(30))
    }

    func post(_ server: Int, _ path: String, _ body: JSONValue) async throws -> JSONValue {
      try await Self.post(addresses[server], path, body)
    }

    static func post(_ address: String, _ path: String, _ body: JSONValue) async throws -> JSONValue {
      let request = HTTPClientRequest.json("POST", "http://\(address)\(path)", body.data(), timeout: .seconds(30))
      let answer = try await HTTPClient().collect(request, upTo: 1 << 24)
      try #require(answer.status == 200)
      return try JSONValue(parsing: String(buffer: answer.body))
    }

    /// The server serves these weights, whole, and generates with them.
    func expect(_ server: Int, serves seed: Int, _ version: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
      let sums = try await post(server, "/weights_checker", ["action": "checksum"])["ranks"]?.array?.first?["checksums"]
      let files = try HuggingFaceFolder(folder.appendingPathComponent("model-\(seed)")).weights()
      for name in files.names {
        let expected = try files.tensor(name).withBytes { XXHash64.hex($0) }
        #expect(sums?[name]?.string == expected, "\(name)", sourceLocation: sourceLocation)
      }
      let served = try await post(
        server, "/generate", ["input_ids": [5, 6], "sampling_params": ["max_new_tokens": 3, "ignore_eos": true]])
      #expect(served["meta_info"]?["weight_version"]?.string == version, sourceLocation: sourceLocation)
      #expect(served["output_ids"]?.array?.count == 3, sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: ways) func aTrainerThatDiesLeavesTheOldVersionWhole(way: UpdateWeightFromDistributed.Way) async throws {
    let place = try await Place()
    let (doomed, other) = (try await place.trainer(WorkerRole.critic, model: 2), try await place.trainer(WorkerRole.trainer, model: 3))
    let pid = try #require(workerPID(WorkerRole.critic, 0))
    let address = place.addresses[0]
    async let running = Place.post(
      address, "/generate", ["input_ids": [5, 6], "sampling_params": ["max_new_tokens": 200, "ignore_eos": true]])
    let error = await #expect(throws: (any Error).self) { try await place.update(doomed, way, killing: pid).update(version: "2") }
    #expect("\(try #require(error))".contains("critic rank 0 (pid \(pid)) was killed"), "\(String(describing: error))")
    for server in 0..<2 { try await place.expect(server, serves: 1, "default") }
    #expect(try await running["output_ids"]?.array?.count == 200)
    let report = try await place.update(other, way).update(version: "3")
    #expect(report.failures.isEmpty)
    for server in 0..<2 { try await place.expect(server, serves: 3, "3") }
    await place.supervisor.shutDown()
  }

  @Test(arguments: ways) func theOtherFinishesWhenAServerDies(way: UpdateWeightFromDistributed.Way) async throws {
    let place = try await Place()
    let trainer = try await place.trainer(WorkerRole.trainer, model: 2)
    let update = try place.update(trainer, way, killing: place.servers[1].pid)
    let report = try await update.update(version: "2")
    #expect(report.failures.map(\.index) == [1])
    let sentence = report.failures.first?.description ?? ""
    #expect(sentence.hasPrefix("the engine at http://\(place.addresses[1]) failed at"), "\(sentence)")
    try await place.expect(0, serves: 2, "2")
    // The next one too.
    #expect(try await update.update(version: "3").failures.map(\.index) == [1])
    try await place.expect(0, serves: 2, "3")
    await place.supervisor.shutDown()
  }
}
