import Inference
import Torch

/// One rank of a trainer, as a source of what it holds.
public protocol WeightSliceSource: Sendable {
  func weightShards() async throws -> [WeightShard]
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
  func beginWeightUpdate() async throws
  /// Returns when the buckets have been read.
  func loadWeights(_ buckets: [SliceBucket]) async throws
  func endWeightUpdate(version: String) async throws
  func abandonWeightUpdate() async throws
}

/// Moves a trainer's weights into engines on the same machine through memory that both see, bucket by bucket (slime's
/// `UpdateWeightFromTensor`): each rank of the trainer sends elements that it holds, as a `CopyPlan` says, and each rank of
/// an engine takes those that it holds. While one round of buckets is read the next is filled.
///
/// Engines go on generating; each changes its weights at the end, one engine after another. Every update has a version,
/// which the engines' responses carry from then on.
public actor UpdateWeightFromTensor {
  private let sources: [any WeightSliceSource]
  private let targets: [any WeightTarget]
  private let bufferSize: Int
  private var held: [[WeightShard]]?
  private var wanted: [Int: [[WeightShard]]] = [:]
  private var plan: (engines: [Int], rounds: [[[WeightShard]]], capacities: [Int])?

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
    do {
      try await fleet.forEach("the beginning of the update to version \(version)") { try await $0.beginWeightUpdate() }
      let (rounds, capacities) = try await prepare(&fleet)
      try await send(rounds, capacities, version, to: &fleet, &report)
      try await fleet.forEach("the end of the update to version \(version)", rolling: true) {
        try await $0.endWeightUpdate(version: version)
      }
    } catch {
      for target in targets { try? await target.abandonWeightUpdate() }
      for source in sources { try? await source.releaseWeights() }
      throw error
    }
    for failure in fleet.failures { try? await targets[failure.index].abandonWeightUpdate() }
    for source in sources { try await source.releaseWeights() }
    report.failures = fleet.failures
    report.bytes = rounds.joined().joined().reduce(0) { $0 + $1.byteCount }
    report.totalTime = (ContinuousClock.now - start) / .seconds(1)
    return report
  }

  private var rounds: [[[WeightShard]]] { plan?.rounds ?? [] }

  /// The plan for the engines that are left; made anew where it is not the same ones.
  private func prepare(_ fleet: inout Fleet<any WeightTarget>) async throws -> ([[[WeightShard]]], [Int]) {
    if let plan, plan.engines == fleet.live { return (plan.rounds, plan.capacities) }
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
    let made = try CopyPlan(from: held!, to: fleet.live.map { wanted[$0]! }).rounds(bufferSize: bufferSize)
    let capacities = sources.indices.map { rank in made.map { SliceBucket.byteCount(of: $0[rank]) }.max() ?? 0 }
    plan = (fleet.live, made, capacities)
    return (made, capacities)
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
