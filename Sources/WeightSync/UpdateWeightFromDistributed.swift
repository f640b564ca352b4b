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
  private var group: WeightGroup?

  /// - Parameters:
  ///   - engines: `http://host:port` of each.
  ///   - timeout: for each request and each broadcast.
  public init(
    sources: [any WeightSource], engines: [String], bufferSize: Int, dtype: DType, way: Way,
    groupName: String = "slime-pp_0", pauseMode: PauseMode = .retract, timeout: Duration = .seconds(120)
  ) throws {
    (self.sources, self.bufferSize, self.dtype, self.way) = (sources, bufferSize, dtype, way)
    (self.groupName, self.pauseMode, self.timeout) = (groupName, pauseMode, timeout)
    self.engines = try engines.map { try RemoteEngine($0, timeout: timeout) }
  }

  /// - Throws: what failed first. Engines with sessions then serve on with their old weights.
  public func update(version: String) async throws {
    if case .broadcast(let device) = way, group == nil { group = try await meet(device) }
    do {
      try await engines.forEach { [pauseMode] in try await $0.post("/pause_generation", ["mode": .string(pauseMode.rawValue)]) }
      try await engines.forEach { try await $0.flushCache() }
      var sessions: [Bool] = []
      for engine in engines { sessions.append(try await engine.begin()) }
      try await sendAll(version)
      for (engine, hasSession) in zip(engines, sessions) where hasSession { try await engine.post("/end_weight_update") }
    } catch {
      // The ranks of the group may stand at different places: the next update makes another.
      group = nil
      try? await engines.forEach { [groupName] in
        _ = try? await $0.post("/destroy_weights_update_group", ["group_name": .string(groupName)])
        try await $0.post("/continue_generation")
      }
      for source in sources { try? await source.releaseWeights() }
      throw error
    }
    try await engines.forEach { try await $0.post("/continue_generation") }
    for source in sources { try await source.releaseWeights() }
  }

  /// Leaves the group.
  public func disconnect() async throws {
    guard group != nil else { return }
    group = nil
    try await engines.forEach { [groupName] in
      try await $0.post("/destroy_weights_update_group", ["group_name": .string(groupName)])
    }
  }

  private func meet(_ device: Device) async throws -> WeightGroup {
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
  private func sendAll(_ version: String) async throws {
    var gathered = try await gather(fromUnit: 0)
    while true {
      // Opened buckets outlive the next gathering.
      let buckets = try gathered.buckets.map(OpenBucket.init)
      guard let unit = gathered.nextUnit else {
        for bucket in buckets { try await send(bucket, version) }
        return
      }
      async let next = gather(fromUnit: unit)
      for bucket in buckets { try await send(bucket, version) }
      gathered = try await next
    }
  }

  /// - Returns: rank 0's export.
  private func gather(fromUnit unit: Int) async throws -> WeightExport {
    try await withThrowingTaskGroup(of: WeightExport?.self) { [sources, bufferSize, dtype] group in
      for (rank, source) in sources.enumerated() {
        group.addTask {
          let export = try await source.exportWeights(fromUnit: unit, byteLimit: bufferSize, dtype: dtype)
          return rank == 0 ? export : nil
        }
      }
      return try await group.reduce(nil as WeightExport?) { $0 ?? $1 }!
    }
  }

  private func send(_ bucket: OpenBucket, _ version: String) async throws {
    var body: JSONObject = ["flush_cache": false, "weight_version": .string(version)]
    guard let group else {
      body["serialized_named_tensors"] = [.string(try PickledTensors.pickle(bucket.weights).base64EncodedString())]
      return try await engines.forEach { [body] in try await $0.post("/update_weights_from_tensor", .object(body)) }
    }
    body["names"] = .array(bucket.entries.map { .string($0.name) })
    body["dtypes"] = .array(bucket.entries.map { .string($0.dtype.name) })
    body["shapes"] = .array(bucket.entries.map { .array($0.shape.map(JSONValue.int)) })
    body["group_name"] = .string(groupName)
    body["load_format"] = "flattened_bucket"
    // Not waited for where an engine refuses: its broadcast would last until the deadline.
    let sending = Task { try await group.send(bucket.tensors(), flattened: true) }
    try await engines.forEach { [body] in try await $0.post("/update_weights_from_distributed", .object(body)) }
    try await sending.value
  }
}

/// A bucket whose memory is mapped; it is only read.
private struct OpenBucket: @unchecked Sendable {
  let entries: [WeightBucket.Entry]
  private let opened: [NamedTensor]

  init(_ bucket: WeightBucket) throws { (entries, opened) = (bucket.entries, try bucket.open()) }

  var weights: [(name: String, tensor: Tensor)] { opened.map { ($0.name, $0.tensor) } }

  func tensors() -> sending [NamedTensor] {
    nonisolated(unsafe) let tensors = opened
    return tensors
  }
}
