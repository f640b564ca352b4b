import Foundation
import Inference
import JSON
import Torch

/// Moves a trainer's weights into engines elsewhere, over SGLang's HTTP API (slime's `UpdateWeightFromDistributed`): ours,
/// or SGLang's own servers.
///
/// Buckets are broadcast in one row of bytes to a group of which the trainer's rank 0 is rank 0 and each engine rank another;
/// where no group can be formed, they go inside the requests. While one bucket is on its way the next is gathered.
public actor UpdateWeightFromDistributed {
  /// How the bytes travel.
  public enum Way: Sendable, Equatable {
    /// Over NCCL between GPUs, where trainer and engines have some; over Gloo.
    case broadcast(Device.Kind)
    case requests
  }

  private let sources: [any WeightSource]
  private let engines: [RemoteEngine]
  private let bufferSize: Int
  private let dtype: DType
  private let isFloat8: Bool
  private let way: Way
  private let groupName: String
  private let timeout: Duration
  private let pauseMode: PauseMode
  /// Most bytes inside a request, unless a single tensor is larger.
  private static let requestSize = 64 << 20
  /// The engines in a group with the trainer; nil: there is none.
  private var members: [Int]?
  /// What engines of this update have in common.
  private var request: WeightRequest
  /// Whether all engines are ours, which compare them.
  private var sendsChecksums = false

  /// - Parameters:
  ///   - engines: `http://host:port` of each.
  ///   - isFloat8: whether what the trainer's checkpoint has as e4m3 is sent so, unless an engine keeps plain numbers.
  ///   - timeout: for each request and each broadcast.
  public init(
    sources: [any WeightSource], engines: [String], bufferSize: Int, dtype: DType, isFloat8: Bool = false, way: Way,
    groupName: String = "slime-pp_0", pauseMode: PauseMode = .retract, timeout: Duration = .seconds(120)
  ) throws {
    (self.sources, self.dtype, self.isFloat8, self.way) = (sources, dtype, isFloat8, way)
    self.bufferSize = way == .requests ? min(bufferSize, Self.requestSize) : bufferSize
    (self.groupName, self.pauseMode, self.timeout) = (groupName, pauseMode, timeout)
    self.engines = try engines.map { try RemoteEngine($0, timeout: timeout) }
    request = WeightRequest(byteLimit: self.bufferSize, dtype: dtype)
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
        var cause = error
        for source in sources {
          // One that is gone is the reason, not what an engine says of a broadcast that broke off.
          do { try await source.releaseWeights() } catch { cause = error }
        }
        try await abandon(version, &fleet, error is CancellationError ? error : cause)
      }
    }
  }

  /// After a failure: the engines that are still there are let go, and where others are gone, which broke a broadcast for
  /// all, the update begins again without those.
  /// - Throws: `error` where nobody is gone, or nobody is left.
  private func abandon(_ version: String, _ fleet: inout Fleet<RemoteEngine>, _ error: any Error) async throws {
    // The ranks of the group may stand at different places: the next attempt makes another.
    if members != nil { try? await sources[0].leaveWeightGroup() }
    members = nil
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
    let operation = "the beginning of the update to version \(version)"
    var traits: [Int: RemoteEngine.Traits] = [:]
    for index in fleet.live {
      do { traits[index] = try await fleet.liveTarget(index).traits() } catch {
        guard case .requests = way else { throw error }
        fleet.drop(index, operation, error)
      }
    }
    try fleet.requireOne()
    if case .broadcast(var kind) = way, members != fleet.live {
      try await disconnect()
      if traits.values.contains(where: \.isOnCPU) { kind = .cpu }
      try await meet(kind, fleet.live.map { (fleet.liveTarget($0), traits[$0]!) })
      (members, request.broadcasting) = (fleet.live, kind)
    }
    request.isFloat8 = isFloat8 && !traits.values.contains(where: \.keepsPlainNumbers)
    // Engines that write into the model at once must not generate meanwhile.
    let pausing = Set(traits.filter { !$0.value.stagesUpdates }.keys.map { engines[$0].address })
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
    guard let members else { return }
    self.members = nil
    try await sources[0].leaveWeightGroup()
    try await members.map { engines[$0] }.forEach { [groupName] in
      try await $0.post("/destroy_weights_update_group", ["group_name": .string(groupName)])
    }
  }

  private func meet(_ kind: Device.Kind, _ engines: [(engine: RemoteEngine, traits: RemoteEngine.Traits)]) async throws {
    var offsets: [Int] = []
    var size = 1
    for (engine, traits) in engines {
      guard let count = traits.rankCount else {
        throw WeightSyncError("The engine at \(engine.address) does not tell its tp_size in /server_info.")
      }
      offsets.append(size)
      size += count
    }
    let source = sources[0]
    let port = try await source.openWeightGroup(rankCount: size, timeout: timeout)
    let place = WeightGroupPlace(
      name: groupName, address: localAddress(toward: engines[0].engine.host), port: port, rank: 0, size: size,
      device: kind == .cuda ? .cuda(0) : .cpu)
    // From here on there is something to leave.
    members = []
    let joining = Task { [timeout] in try await source.joinWeightGroup(place, timeout: timeout) }
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      for ((engine, _), offset) in zip(engines, offsets) {
        tasks.addTask { [size] in
          try await engine.post(
            "/init_weights_update_group",
            [
              "master_address": .string(localAddress(toward: engine.host)), "master_port": .int(place.port),
              "rank_offset": .int(offset), "world_size": .int(size), "group_name": .string(place.name),
              "backend": kind == .cuda ? "nccl" : "gloo",
            ])
        }
      }
      try await tasks.waitForAll()
    }
    try await joining.value
  }

  /// Gathers units and sends what was gathered before, side by side.
  private func sendAll(
    _ version: String, _ fleet: inout Fleet<RemoteEngine>, _ report: inout WeightUpdateReport
  ) async throws {
    var gathered = try await gather(fromUnit: 0)
    var sent = 0
    while true {
      report.gatherTime += gathered.seconds
      // Opened buckets outlive the next gathering, as those do that wait for a broadcast.
      let buckets = try gathered.export.buckets.map(SentBucket.init)
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
    request.unit = unit
    let export = try await withThrowingTaskGroup(of: WeightExport?.self) { [sources, request] group in
      for (rank, source) in sources.enumerated() {
        group.addTask {
          let export = try await source.exportWeights(request)
          return rank == 0 ? export : nil
        }
      }
      return try await group.reduce(nil as WeightExport?) { $0 ?? $1 }!
    }
    return (export, (ContinuousClock.now - start) / .seconds(1))
  }

  private func send(
    _ bucket: SentBucket, _ operation: String, _ version: String, _ fleet: inout Fleet<RemoteEngine>
  ) async throws {
    var body: JSONObject = ["flush_cache": false, "weight_version": .string(version)]
    guard case .waiting(let number, let checksum) = bucket.place else {
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
    if sendsChecksums { body["checksum"] = .string(checksum) }
    // Not waited for where an engine refuses: its broadcast would last until the deadline.
    let sending = Task { [source = sources[0]] in try await source.broadcastBucket(number) }
    try await each(operation, &fleet) { [body] in try await $0.post("/update_weights_from_distributed", .object(body)) }
    try await sending.value
  }
}

/// A bucket on its way. Where it is in shared memory, that is mapped, and only read.
private struct SentBucket: @unchecked Sendable {
  private let bucket: WeightBucket
  private let opened: [NamedTensor]

  init(_ bucket: WeightBucket) throws {
    self.bucket = bucket
    if case .shared = bucket.place { opened = try bucket.open() } else { opened = [] }
  }

  var place: WeightBucket.Place { bucket.place }
  var byteCount: Int { bucket.byteCount }
  var entries: [WeightBucket.Entry] { bucket.entries }
  var weights: [(name: String, tensor: Tensor)] { opened.map { ($0.name, $0.tensor) } }
}

extension Optional where Wrapped: Sendable {
  fileprivate func asyncMap<R: Sendable>(_ body: @Sendable (Wrapped) async throws -> R) async rethrows -> R? {
    guard let self else { return nil }
    return try await body(self)
  }
}
