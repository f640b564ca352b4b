import Foundation
import Inference
import JSON
import Torch

/// Moves a trainer's weights into engines elsewhere, over SGLang's HTTP API (slime's `UpdateWeightFromDistributed`): ours,
/// or SGLang's own servers.
///
/// Buckets are broadcast in one row of bytes to a group of which this process is rank 0 and each engine rank another; where
/// no group can be formed, they go inside the requests. While one bucket is on its way the next is gathered.
public actor UpdateWeightFromDistributed {
  /// How the bytes travel.
  public enum Way: Sendable, Equatable {
    /// Over NCCL where the device is a GPU, else over Gloo.
    case broadcast(Device)
    case requests
  }

  private let sources: [any WeightSource]
  private let engines: [RemoteEngine]
  private let bufferSize: Int
  private let dtype: DType
  private let way: Way
  private let groupName: String
  private let timeout: Duration
  private let pauseMode: PauseMode
  /// Most bytes inside a request, unless a single tensor is larger.
  private static let requestSize = 64 << 20
  private var group: WeightGroup?
  /// The engines in the group.
  private var members: [Int] = []
  /// Whether all engines are ours, which compare them.
  private var sendsChecksums = false

  /// - Parameters:
  ///   - engines: `http://host:port` of each.
  ///   - timeout: for each request and each broadcast.
  public init(
    sources: [any WeightSource], engines: [String], bufferSize: Int, dtype: DType, way: Way,
    groupName: String = "slime-pp_0", pauseMode: PauseMode = .retract, timeout: Duration = .seconds(120)
  ) throws {
    (self.sources, self.dtype, self.way) = (sources, dtype, way)
    self.bufferSize = way == .requests ? min(bufferSize, Self.requestSize) : bufferSize
    (self.groupName, self.pauseMode, self.timeout) = (groupName, pauseMode, timeout)
    self.engines = try engines.map { try RemoteEngine($0, timeout: timeout) }
  }

  /// - Throws: what failed first. Engines that stage updates (ours) then serve on with their old weights.
  @discardableResult
  public func update(version: String) async throws -> WeightUpdateReport {
    let start = ContinuousClock.now
    var fleet = Fleet(engines, name: \.name)
    while true {
      var report = WeightUpdateReport()
      do {
        try await attempt(version, &fleet, &report)
        for source in sources { try await source.releaseWeights() }
        report.failures = fleet.failures
        report.totalTime = (ContinuousClock.now - start) / .seconds(1)
        return report
      } catch {
        for source in sources { try? await source.releaseWeights() }
        try await abandon(version, &fleet, error)
      }
    }
  }

  /// After a failure: the engines that are still there are let go, and where others are gone, which broke a broadcast for
  /// all, the update begins again without those.
  /// - Throws: `error` where nobody is gone, or nobody is left.
  private func abandon(_ version: String, _ fleet: inout Fleet<RemoteEngine>, _ error: any Error) async throws {
    // The ranks of the group may stand at different places: the next attempt makes another.
    group = nil
    let reachable = await withTaskGroup(of: (Int, Bool).self) { [fleet, groupName, way] tasks in
      for index in fleet.live {
        tasks.addTask {
          let engine = fleet.liveTarget(index)
          guard await engine.isReachable() else { return (index, false) }
          if way != .requests { _ = try? await engine.post("/destroy_weights_update_group", ["group_name": .string(groupName)]) }
          _ = try? await engine.post("/continue_generation")
          return (index, true)
        }
      }
      return await tasks.reduce(into: [:]) { $0[$1.0] = $1.1 }
    }
    let gone = reachable.filter { !$0.value }.keys.sorted()
    guard !gone.isEmpty, gone.count < reachable.count, case .broadcast = way, !(error is CancellationError) else { throw error }
    for index in gone { fleet.drop(index, "the broadcast of version \(version)", error) }
  }

  private func attempt(
    _ version: String, _ fleet: inout Fleet<RemoteEngine>, _ report: inout WeightUpdateReport
  ) async throws {
    if case .broadcast(let device) = way, group == nil || members != fleet.live {
      try await disconnect()
      group = try await meet(device, fleet.liveTargets)
      members = fleet.live
    }
    let operation = "the beginning of the update to version \(version)"
    var stages: [Int: Bool] = [:]
    for index in fleet.live {
      do { stages[index] = try await fleet.liveTarget(index).stagesUpdates() } catch {
        guard case .requests = way else { throw error }
        fleet.drop(index, operation, error)
      }
    }
    try fleet.requireOne()
    // Engines that write into the model at once must not generate meanwhile.
    let pausing = Set(stages.filter { !$0.value }.keys.map { engines[$0].address })
    sendsChecksums = pausing.isEmpty
    let (pauseMode, sessions) = (pauseMode, Sessions())
    try await each(operation, &fleet) {
      if pausing.contains($0.address) { try await $0.pause(pauseMode) }
      if try await $0.begin() { await sessions.add($0.address) }
    }
    try await sendAll(version, &fleet, &report)
    let open = await sessions.addresses
    let end: @Sendable (RemoteEngine) async throws -> Void = { engine in
      if open.contains(engine.address) {
        // Requests in flight of an engine that stages go on with the new weights at once.
        try await engine.post(
          "/end_weight_update", pausing.contains(engine.address) ? [:] : ["retract_requests": true])
      }
      if pausing.contains(engine.address) { try await engine.post("/continue_generation") }
    }
    // One engine after another: the others go on generating.
    try await fleet.forEach("the end of the update to version \(version)", rolling: true, end)
  }

  private actor Sessions {
    private(set) var addresses: Set<String> = []
    func add(_ address: String) { addresses.insert(address) }
  }

  /// A broadcast is for all engines or for none; requests reach each by itself.
  private func each(
    _ operation: String, _ fleet: inout Fleet<RemoteEngine>, _ body: @escaping @Sendable (RemoteEngine) async throws -> Void
  ) async throws {
    switch way {
    case .requests: try await fleet.forEach(operation, body)
    case .broadcast: try await fleet.liveTargets.forEach(body)
    }
  }

  /// Leaves the group.
  public func disconnect() async throws {
    guard group != nil else { return }
    group = nil
    try await members.map { engines[$0] }.forEach { [groupName] in
      try await $0.post("/destroy_weights_update_group", ["group_name": .string(groupName)])
    }
  }

  private func meet(_ device: Device, _ engines: [RemoteEngine]) async throws -> WeightGroup {
    var offsets: [Int] = []
    var size = 1
    for engine in engines {
      offsets.append(size)
      size += try await engine.rankCount()
    }
    let store = try Store.tcp(host: "127.0.0.1", port: 0, isServer: true, rankCount: size, timeout: timeout)
    let place = WeightGroupPlace(
      name: groupName, address: localAddress(toward: engines[0].host), port: store.port, rank: 0, size: size,
      device: device)
    let group = WeightGroup(place, store: store)
    let joining = Task { [timeout] in try await group.join(timeout: timeout) }
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      for (engine, offset) in zip(engines, offsets) {
        tasks.addTask { [size] in
          try await engine.post(
            "/init_weights_update_group",
            [
              "master_address": .string(localAddress(toward: engine.host)), "master_port": .int(place.port),
              "rank_offset": .int(offset), "world_size": .int(size), "group_name": .string(place.name),
              "backend": device.kind == .cuda ? "nccl" : "gloo",
            ])
        }
      }
      try await tasks.waitForAll()
    }
    try await joining.value
    return group
  }

  /// Gathers units and sends what was gathered before, side by side.
  private func sendAll(
    _ version: String, _ fleet: inout Fleet<RemoteEngine>, _ report: inout WeightUpdateReport
  ) async throws {
    var gathered = try await gather(fromUnit: 0)
    var sent = 0
    while true {
      report.gatherTime += gathered.seconds
      // Opened buckets outlive the next gathering.
      let buckets = try gathered.export.buckets.map(OpenBucket.init)
      let unit = gathered.export.nextUnit
      async let next = unit.asyncMap { try await self.gather(fromUnit: $0) }
      for bucket in buckets {
        sent += 1
        report.bytes = (report.bytes ?? 0) + bucket.byteCount
        try await ContinuousClock.measure(into: &report.sendTime) {
          try await send(bucket, "bucket \(sent) of version \(version)", version, &fleet)
        }
      }
      guard let following = try await next else { return }
      gathered = following
    }
  }

  /// - Returns: rank 0's export.
  private func gather(fromUnit unit: Int) async throws -> (export: WeightExport, seconds: Double) {
    let start = ContinuousClock.now
    let export = try await withThrowingTaskGroup(of: WeightExport?.self) { [sources, bufferSize, dtype] group in
      for (rank, source) in sources.enumerated() {
        group.addTask {
          let export = try await source.exportWeights(fromUnit: unit, byteLimit: bufferSize, dtype: dtype)
          return rank == 0 ? export : nil
        }
      }
      return try await group.reduce(nil as WeightExport?) { $0 ?? $1 }!
    }
    return (export, (ContinuousClock.now - start) / .seconds(1))
  }

  private func send(
    _ bucket: OpenBucket, _ operation: String, _ version: String, _ fleet: inout Fleet<RemoteEngine>
  ) async throws {
    var body: JSONObject = ["flush_cache": false, "weight_version": .string(version)]
    guard let group else {
      let pickle = try PickledTensors.pickle(bucket.weights)
      body["serialized_named_tensors"] = [.string(pickle.base64EncodedString())]
      if sendsChecksums { body["checksum"] = .string(pickle.withUnsafeBytes { XXHash64.hex($0) }) }
      return try await each(operation, &fleet) { [body] in try await $0.post("/update_weights_from_tensor", .object(body)) }
    }
    body["names"] = .array(bucket.entries.map { .string($0.name) })
    body["dtypes"] = .array(bucket.entries.map { .string($0.dtype.name) })
    body["shapes"] = .array(bucket.entries.map { .array($0.shape.map(JSONValue.int)) })
    body["group_name"] = .string(groupName)
    body["load_format"] = "flattened_bucket"
    if sendsChecksums { body["checksum"] = .string(bucket.checksum) }
    // Not waited for where an engine refuses: its broadcast would last until the deadline.
    let sending = Task { try await group.send(bucket.tensors(), flattened: true) }
    try await each(operation, &fleet) { [body] in try await $0.post("/update_weights_from_distributed", .object(body)) }
    try await sending.value
  }
}

/// A bucket whose memory is mapped; it is only read.
private struct OpenBucket: @unchecked Sendable {
  let entries: [WeightBucket.Entry]
  private let opened: [NamedTensor]

  let byteCount: Int

  init(_ bucket: WeightBucket) throws { (entries, opened, byteCount) = (bucket.entries, try bucket.open(), bucket.byteCount) }

  var weights: [(name: String, tensor: Tensor)] { opened.map { ($0.name, $0.tensor) } }

  /// XXH64 of all tensors' bytes, one after another.
  var checksum: String {
    var bytes = Data(capacity: byteCount)
    for weight in opened { weight.tensor.withBytes { bytes.append(contentsOf: $0) } }
    return bytes.withUnsafeBytes { XXHash64.hex($0) }
  }

  func tensors() -> sending [NamedTensor] {
    nonisolated(unsafe) let tensors = opened
    return tensors
  }
}

extension Optional where Wrapped: Sendable {
  fileprivate func asyncMap<R: Sendable>(_ body: @Sendable (Wrapped) async throws -> R) async rethrows -> R? {
    guard let self else { return nil }
    return try await body(self)
  }
}
