import Torch

/// One rank of a trainer, as a source of weights.
public protocol WeightSource: Sendable {
  /// Gathers units from `unit` on until `byteLimit` is reached (at least one), and fills buckets with them.
  /// Every rank is asked for the same; only rank 0 fills buckets.
  func exportWeights(fromUnit unit: Int, byteLimit: Int, dtype: DType) async throws -> WeightExport
}

public struct WeightExport: Sendable, Codable {
  public var buckets: [WeightBucket]
  /// The first unit of the next export; nil at the end.
  public var nextUnit: Int?

  public init(buckets: [WeightBucket], nextUnit: Int?) { (self.buckets, self.nextUnit) = (buckets, nextUnit) }
}

/// An engine that takes weights.
public protocol WeightTarget: Sendable {
  func beginWeightUpdate() async throws
  func loadWeights(_ bucket: WeightBucket) async throws
  func endWeightUpdate(version: String) async throws
}

/// Moves a trainer's weights into engines on the same machine through shared memory, bucket by bucket (slime's
/// `UpdateWeightFromTensor`). Every update has a version, which the engines' responses carry from then on.
public struct UpdateWeightFromTensor: Sendable {
  public let sources: [any WeightSource]
  public let targets: [any WeightTarget]
  /// Most bytes of weights in a bucket.
  public let bufferSize: Int
  /// The type the engines want.
  public let dtype: DType

  public init(sources: [any WeightSource], targets: [any WeightTarget], bufferSize: Int, dtype: DType) {
    (self.sources, self.targets, self.bufferSize, self.dtype) = (sources, targets, bufferSize, dtype)
  }

  public func update(version: String) async throws {
    try await forEach(targets) { try await $0.beginWeightUpdate() }
    var unit: Int? = 0
    while let first = unit {
      let exports = try await withThrowingTaskGroup(of: (Int, WeightExport).self) { group in
        for (rank, source) in sources.enumerated() {
          group.addTask {
            (rank, try await source.exportWeights(fromUnit: first, byteLimit: bufferSize, dtype: dtype))
          }
        }
        return try await group.reduce(into: [Int: WeightExport]()) { $0[$1.0] = $1.1 }
      }
      let export = exports[0]!
      defer { export.buckets.forEach { $0.discard() } }
      for bucket in export.buckets { try await forEach(targets) { try await $0.loadWeights(bucket) } }
      unit = export.nextUnit
    }
    try await forEach(targets) { try await $0.endWeightUpdate(version: version) }
  }

  private func forEach(
    _ targets: [any WeightTarget], _ body: @escaping @Sendable (any WeightTarget) async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for target in targets { group.addTask { try await body(target) } }
      try await group.waitForAll()
    }
  }
}

/// Fills buckets from a rank's weights: what a `WeightSource` does.
/// - Parameters:
///   - elementCounts: how many numbers each unit holds, known on every rank; `weights` gathers one, on every rank.
///   - fills: whether this rank fills buckets (rank 0), or only takes part in gathering.
///   - keepsType: what goes as it comes (in fp32) whatever `dtype` says, by name.
public func exportWeights(
  fromUnit unit: Int, elementCounts: [Int], byteLimit: Int, dtype: DType, fills: Bool,
  keepsType: (String) -> Bool = { _ in false }, weights: (Int) throws -> [(name: String, tensor: Tensor)]
) throws -> WeightExport {
  var gathered: [(name: String, tensor: Tensor)] = []
  var bytes = 0
  var next = unit
  repeat {
    let part = try weights(next)
    bytes += elementCounts[next] * dtype.size
    // Narrowed at once, so that not more than one unit is held in fp32.
    if fills { gathered += part.map { ($0.name, keepsType($0.name) ? $0.tensor : $0.tensor.to(dtype: dtype)) } }
    next += 1
  } while next < elementCounts.count && bytes < byteLimit
  let buckets = fills ? try catchingTorchErrors { try WeightBucket.fill(gathered, byteLimit: byteLimit) } : []
  return WeightExport(buckets: buckets, nextUnit: next < elementCounts.count ? next : nil)
}
