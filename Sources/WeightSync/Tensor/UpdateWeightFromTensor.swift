import Inference
import Torch

/// One rank of a trainer, as a source of what it holds.
public protocol WeightSliceSource: Sendable {
  func weightShards() async throws -> [WeightShard]
  /// All that it holds, where engines read it in place, now and after each later step; nil: it has to go through buckets.
  func shareWeights() async throws -> SliceBucket?
  /// Returns when the shared weights are those of the latest step. They stay so until the next.
  func settleWeights() async throws
  /// Fills one of two buffers, which others may read until it is filled again.
  /// - Parameter capacity: bytes of the largest bucket that this rank will be asked for.
  func fillBucket(_ shards: [WeightShard], buffer: Int, capacity: Int) async throws -> SliceBucket
  /// The buffers are not needed any more.
  func releaseWeights() async throws
}

/// An engine on the same machine that takes slices of weights.
public protocol WeightTarget: Sendable {
  /// What errors call it.
  var name: String { get }
  /// By rank.
  func weightShards() async throws -> [[WeightShard]]

  /// Opens weights that a trainer shares, which are all that the engine needs; later ones take their place.
  func linkWeights(_ shared: [SliceBucket]) async throws
  /// Copies them as they are now, all at once.
  func copyLinkedWeights(version: String) async throws

  func beginWeightUpdate() async throws
  /// Returns when the buckets have been read.
  func loadWeights(_ buckets: [SliceBucket]) async throws
  func endWeightUpdate(version: String) async throws
  func abandonWeightUpdate() async throws
}

/// Moves a trainer's weights into engines on the same machine through memory that both see (slime's
/// `UpdateWeightFromTensor`): each rank of the trainer gives elements that it holds, as a `CopyPlan` says, and each rank of
/// an engine takes those that it holds.
///
/// Where the trainer's ranks can share their weights, engines have all of that memory open before the first update, and
/// copy from it: there is no second copy of anything, and once an engine has begun it needs nobody else, so that it has the old
/// weights or the new ones whoever dies. Otherwise they go through buckets, of which one round is filled while the one before is
/// read; engines gather them and change their weights at the end.
///
/// Engines take turns with changing their weights: the others go on generating. Every update has a version, which the engines'
/// responses carry from then on.
public actor UpdateWeightFromTensor {
  private let sources: [any WeightSliceSource]
  private let targets: [any WeightTarget]
  private let bufferSize: Int
  private var held: [[WeightShard]]?
  private var wanted: [Int: [[WeightShard]]] = [:]
  private var plan: Plan?
  /// By rank; nil: nobody has asked yet.
  private var shared: [SliceBucket?]?
  /// The engines that have opened what the plan says.
  private var linked: [Int] = []

  /// How weights get to some engines.
  private struct Plan {
    let engines: [Int]
    let copies: CopyPlan
    /// `[round][rank]`
    let rounds: [[[WeightShard]]]
    /// By rank, of its largest bucket.
    let capacities: [Int]
  }

  /// - Parameter bufferSize: most bytes of buckets at a time, of all ranks together.
  public init(sources: [any WeightSliceSource], targets: [any WeightTarget], bufferSize: Int) {
    (self.sources, self.targets, self.bufferSize) = (sources, targets, bufferSize)
  }

  /// - Throws: what a source threw, or what the engines threw if none is left. Engines then keep their old weights, and
  ///   wait for another, whole update.
  @discardableResult
  public func update(version: String) async throws -> WeightUpdateReport {
    var report = WeightUpdateReport()
    let start = ContinuousClock.now
    var fleet = Fleet(targets, name: \.name)
    if let shared = try await sharedWeights() {
      try await copy(shared, version, to: &fleet, &report)
    } else {
      try await sendBuckets(version, to: &fleet, &report)
    }
    report.failures = fleet.failures
    report.totalTime = (ContinuousClock.now - start) / .seconds(1)
    return report
  }

  /// The plan for the engines that are left; made anew where it is not the same ones.
  private func prepare(_ fleet: inout Fleet<any WeightTarget>) async throws -> Plan {
    if let plan, plan.engines == fleet.live { return plan }
    if held == nil {
      var shards: [[WeightShard]] = []
      for source in sources { shards.append(try await source.weightShards()) }
      held = shards
    }
    for index in fleet.live where wanted[index] == nil {
      do {
        wanted[index] = try await targets[index].weightShards()
      } catch {
        fleet.drop(index, "telling what its ranks hold", error)
      }
    }
    try fleet.requireOne()
    let copies = try CopyPlan(from: held!, to: fleet.live.map { wanted[$0]! })
    let rounds = copies.rounds(bufferSize: bufferSize)
    let capacities = sources.indices.map { rank in rounds.map { SliceBucket.byteCount(of: $0[rank]) }.max() ?? 0 }
    let made = Plan(engines: fleet.live, copies: copies, rounds: rounds, capacities: capacities)
    (plan, linked) = (made, [])
    return made
  }

  // MARK: In place

  /// By rank; nil where a rank cannot share what it holds.
  private func sharedWeights() async throws -> [SliceBucket]? {
    if shared == nil {
      shared = try await onSources { try await $0.shareWeights() }
    }
    let all = shared!.compactMap { $0 }
    return all.count == sources.count ? all : nil
  }

  private func copy(
    _ shared: [SliceBucket], _ version: String, to fleet: inout Fleet<any WeightTarget>, _ report: inout WeightUpdateReport
  ) async throws {
    let plan = try await prepare(&fleet)
    let buckets = plan.copies.buckets(of: shared)
    report.bytes = buckets.flatMap(\.entries).reduce(0) { $0 + $1.shard.byteCount }
    try await ContinuousClock.measure(into: &report.gatherTime) {
      _ = try await onSources { try await $0.settleWeights() }
    }
    try await ContinuousClock.measure(into: &report.sendTime) {
      if linked != fleet.live {
        linked = []
        try await fleet.forEach("opening the weights of version \(version)") { try await $0.linkWeights(buckets) }
      }
      try await fleet.forEach("the update to version \(version)", rolling: true) {
        try await $0.copyLinkedWeights(version: version)
      }
    }
    linked = fleet.failures.isEmpty ? fleet.live : []
  }

  private func onSources<R: Sendable>(_ body: @escaping @Sendable (any WeightSliceSource) async throws -> R) async throws -> [R] {
    try await withThrowingTaskGroup(of: (Int, R).self) { [sources] group in
      for (rank, source) in sources.enumerated() { group.addTask { (rank, try await body(source)) } }
      return try await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
    }
  }

  // MARK: Through buckets

  private func sendBuckets(
    _ version: String, to fleet: inout Fleet<any WeightTarget>, _ report: inout WeightUpdateReport
  ) async throws {
    do {
      try await fleet.forEach("the beginning of the update to version \(version)") { try await $0.beginWeightUpdate() }
      let plan = try await prepare(&fleet)
      report.bytes = plan.rounds.joined().joined().reduce(0) { $0 + $1.byteCount }
      try await send(plan.rounds, plan.capacities, version, to: &fleet, &report)
      try await fleet.forEach("the end of the update to version \(version)", rolling: true) {
        try await $0.endWeightUpdate(version: version)
      }
    } catch {
      for target in targets { try? await target.abandonWeightUpdate() }
      var cause = error
      for source in sources {
        // One that is gone is the reason, not what an engine says of its memory.
        do { try await source.releaseWeights() } catch { cause = error }
      }
      throw error is CancellationError ? error : cause
    }
    for failure in fleet.failures { try? await targets[failure.index].abandonWeightUpdate() }
    for source in sources { try await source.releaseWeights() }
  }

  private func send(
    _ rounds: [[[WeightShard]]], _ capacities: [Int], _ version: String, to fleet: inout Fleet<any WeightTarget>,
    _ report: inout WeightUpdateReport
  ) async throws {
    guard let first = rounds.first else { return }
    var filled = try await Self.fill(sources, first, 0, capacities)
    report.gatherTime += filled.seconds
    for round in rounds.indices {
      let buckets = filled.buckets
      let operation = "bucket \(round + 1) of \(rounds.count) of version \(version)"
      let next = round + 1
      guard next < rounds.count else {
        try await ContinuousClock.measure(into: &report.sendTime) {
          try await fleet.forEach(operation) { try await $0.loadWeights(buckets) }
        }
        return
      }
      async let filling = Self.fill(sources, rounds[next], next, capacities)
      try await ContinuousClock.measure(into: &report.sendTime) {
        try await fleet.forEach(operation) { try await $0.loadWeights(buckets) }
      }
      filled = try await filling
      report.gatherTime += filled.seconds
    }
  }

  private static func fill(
    _ sources: [any WeightSliceSource], _ round: [[WeightShard]], _ number: Int, _ capacities: [Int]
  ) async throws -> (buckets: [SliceBucket], seconds: Double) {
    let start = ContinuousClock.now
    let buckets = try await withThrowingTaskGroup(of: (Int, SliceBucket).self) { group in
      for (rank, shards) in round.enumerated() where !shards.isEmpty {
        group.addTask {
          (rank, try await sources[rank].fillBucket(shards, buffer: number % 2, capacity: capacities[rank]))
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    return (buckets.sorted { $0.0 < $1.0 }.map(\.1), (ContinuousClock.now - start) / .seconds(1))
  }
}
