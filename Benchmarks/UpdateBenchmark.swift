import Checkpoints
import Foundation
import Inference
import Models
import Orchestration
import Parallelism
import Serving
import Torch
import Training
import WeightSync

/// How long weights take from a trainer to an engine on the same device, by the way that they go, and how much memory that
/// takes besides them.
public enum UpdateBenchmark {
  public struct Work: Sendable {
    /// nil: a model of 104 million parameters with random weights.
    public var checkpoint: URL?
    public var device = Device.cpu
    public var dtype = DType.float32
    /// Whether the engine keeps linear weights as e4m3.
    public var isFloat8 = false
    public var kinds = UpdateKind.allCases
    /// Updates after the first; the slow ways take two.
    public var updates = 10
    public var bufferSize = 512 << 20
    /// How the trainer and the engine are started.
    public var command = WorkerCommand()

    public init() {}
  }

  public struct Row: Sendable, Encodable {
    public var kind: UpdateKind
    /// Of the trainer's weights.
    public var bytes: Int
    /// The first update, which opens memory and connections, and the median of the later ones.
    public var firstSeconds: Double
    public var seconds: Double
    /// Most memory in use during the first and the later updates, above what was in use before them.
    public var firstExtraBytes: Int
    public var extraBytes: Int

    public var bytesPerSecond: Double { Double(bytes) / seconds }

    private enum CodingKeys: String, CodingKey {
      case kind, bytes, firstSeconds = "first_seconds", seconds, firstExtraBytes = "first_extra_bytes", extraBytes = "extra_bytes"
    }
  }

  /// - Throws: what is wrong with the folder; what went wrong in a worker.
  public static func run(_ work: Work) async throws -> [Row] {
    try Runtime.open(work.device, for: "slime bench update")
    let room = FileManager.default.temporaryDirectory.appendingPathComponent("slime-update-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: room) }
    let model = work.checkpoint ?? room.appendingPathComponent("model")
    if work.checkpoint == nil { try BenchmarkModel.small.write(to: model) }
    let supervisor = Supervisor(controlPlane: ControlPlane(), command: work.command)
    supervisor.endOnTerminationSignals()
    do {
      try await supervisor.start([WorkerRole.trainer, WorkerRole.engine].map { WorkerSpecification(ProcessName($0)) })
      let side = try Side(model, room, work, supervisor)
      try await side.start()
      var rows: [Row] = []
      for kind in work.kinds { rows.append(try await side.measure(kind)) }
      await supervisor.shutDown()
      return rows
    } catch {
      let cause = await supervisor.cause(of: error)
      await supervisor.shutDown()
      throw cause
    }
  }

  /// The trainer and the engine.
  private struct Side {
    let model: URL
    let room: URL
    let work: Work
    let trainers: TrainerGroup
    let engine: EngineActor
    private let timeout = Duration.seconds(600)

    init(_ model: URL, _ room: URL, _ work: Work, _ supervisor: Supervisor) throws {
      (self.model, self.room, self.work) = (model, room, work)
      trainers = TrainerGroup(try supervisor.resolveAll(TrainerActor.self, role: WorkerRole.trainer))
      engine = try supervisor.resolve(EngineActor.self, on: ProcessName(WorkerRole.engine))
    }

    private var isOnGPU: Bool { work.device.kind == .cuda }

    func start() async throws {
      var options = TrainingOptions(
        schedule: try LearningRateSchedule(peak: 1e-6, decaySteps: 1), globalBatchSize: 1, batching: .fixed(microBatchSize: 1))
      options.computeType = work.dtype
      // There are no steps: the optimizer's state may lie anywhere, and both models have to fit.
      options.megatron.offloadsOptimizer = isOnGPU
      try await trainers.start(
        TrainerSetup(folder: model.path, backend: .megatron, layout: try ParallelLayout(worldSize: 1), options: options),
        role: .actor, withRef: false, withOPDTeacher: false, devices: [work.device])
      var setup = EngineSetup(folder: model.path, dtype: work.dtype, device: work.device, limits: limits)
      if isOnGPU { setup.weightStaging = .inPlace }
      try await withDeadline(nil) { try await engine.start(setup) }
    }

    private var limits: EngineConfiguration {
      var limits = EngineConfiguration()
      (limits.maxTotalTokens, limits.disableCUDAGraph) = (1024, true)
      limits.quantization = work.isFloat8 ? .fp8 : nil
      return limits
    }

    func measure(_ kind: UpdateKind) async throws -> Row {
      let sources = trainers.ranks.map { TrainerWeights($0, timeout: timeout) }
      let target = WorkerEngine(engine, weightTimeout: timeout)
      switch kind {
      case .tensor:
        let update = UpdateWeightFromTensor(sources: sources, targets: [target], bufferSize: work.bufferSize)
        return try await row(kind, work.updates) { try await update.update(version: "\($0)") }
      case .bucket:
        let update = UpdateWeightFromTensor(
          sources: sources.map(BucketedWeights.init), targets: [target], bufferSize: work.bufferSize)
        return try await row(kind, work.updates) { try await update.update(version: "\($0)") }
      case .disk:
        let update = UpdateWeightFromDisk(targets: [target], folder: room.appendingPathComponent("versions")) {
          [trainers, dtype = work.dtype] in try await trainers.saveHuggingFace(to: $0, dtype: dtype)
        }
        return try await row(kind, 2) { try await update.update(version: $0) }
      case .distributed, .http: return try await withServer { try await measure(kind, sources, server: $0) }
      }
    }

    private func measure(_ kind: UpdateKind, _ sources: [TrainerWeights], server port: Int) async throws -> Row {
      let update = try UpdateWeightFromDistributed(
        sources: sources, engines: ["127.0.0.1:\(port)"], bufferSize: work.bufferSize, dtype: work.dtype,
        way: kind == .http ? .requests : .broadcast(serverDevice == work.device ? .cpu : .cuda), timeout: timeout)
      let row = try await row(kind, 2) { try await update.update(version: "\($0)") }
      try await update.disconnect()
      return row
    }

    /// One GPU takes one rank of NCCL: with a second one, the server's engine is there.
    private var serverDevice: Device {
      isOnGPU && Runtime.cudaDeviceCount > work.device.index + 1 ? .cuda(work.device.index + 1) : work.device
    }

    private func withServer(_ body: @escaping @Sendable (Int) async throws -> Row) async throws -> Row {
      let device = serverDevice
      let engine = try await onThread { [limits, work, model] in
        try Engine(
          folder: HuggingFaceFolder(model), tokenizer: nil,
          options: limits.options(dtype: work.dtype, device: device, randomSeed: 0))
      }
      defer { engine.shutDown() }
      var configuration = ServerConfiguration(port: 0)
      configuration.device = device
      configuration.arguments = ["device": device.kind == .cuda ? "cuda" : "cpu"]
      return try await Server(engine: engine, tokenizer: nil, configuration: configuration).whileRunning(body)
    }

    private func row(_ kind: UpdateKind, _ updates: Int, _ update: (Int) async throws -> WeightUpdateReport) async throws -> Row {
      let folder = try HuggingFaceFolder(model)
      let bytes = try ModelRegistry.configuration(of: folder).model(parallel: .single(), dtype: work.dtype)
        .table.parameters.reduce(0) { $0 + $1.count * $1.dtype.size }
      var seconds: [Double] = []
      var extra: [Int] = []
      for version in 1...updates + 1 {
        let watch = try MemoryWatch(work.device)
        let start = ContinuousClock.now
        let report = try await update(version)
        seconds.append((ContinuousClock.now - start) / .seconds(1))
        extra.append(watch.end())
        if let failure = report.failures.first { throw failure }
      }
      let later = seconds.dropFirst().sorted()
      return Row(
        kind: kind, bytes: bytes, firstSeconds: seconds[0], seconds: later[later.count / 2], firstExtraBytes: extra[0],
        extraBytes: extra.dropFirst().max()!)
    }
  }

  public static func table(_ rows: [Row]) -> String {
    (["| way | GB | first, ms | later, ms | GB/s | extra at the first peak, MB | at later ones, MB |", "|---|---|---|---|---|---|---|"]
      + rows.map { row in
        String(
          format: "| %@ | %.2f | %.1f | %.1f | %.1f | %.0f | %.0f |", row.kind.rawValue, Double(row.bytes) / 1e9,
          row.firstSeconds * 1e3, row.seconds * 1e3, row.bytesPerSecond / 1e9, Double(row.firstExtraBytes) / 1e6,
          Double(row.extraBytes) / 1e6)
      }).joined(separator: "\n")
  }
}

/// The most memory of a device, or of this machine, that is taken while it watches, by whichever process.
private final class MemoryWatch: @unchecked Sendable {
  private let device: Device
  private let before: Int
  private let ended = DispatchSemaphore(value: 0)
  private let isOver = DispatchSemaphore(value: 0)
  private var least: Int

  init(_ device: Device) throws {
    self.device = device
    before = try Self.free(device)
    least = before
    Thread { [self] in
      repeat { least = min(least, (try? Self.free(device)) ?? least) } while isOver.wait(timeout: .now() + .milliseconds(1)) == .timedOut
      ended.signal()
    }.start()
  }

  /// - Returns: bytes above what was taken at first.
  func end() -> Int {
    isOver.signal()
    ended.wait()
    return max(0, before - least)
  }

  private static func free(_ device: Device) throws -> Int {
    if device.kind == .cuda { return try DeviceMemory.of(device).free }
    let text = try String(contentsOfFile: "/proc/meminfo", encoding: .utf8)
    let line = text.split(separator: "\n").first { $0.hasPrefix("MemAvailable") }
    return (line.flatMap { Int($0.filter(\.isNumber)) } ?? 0) << 10
  }
}
