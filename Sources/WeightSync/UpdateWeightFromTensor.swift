import Torch

/// One rank of a trainer, as a source of weights.
public protocol WeightSource: Sendable {
  /// Gathers units from `unit` on until `byteLimit` is reached (at least one), and fills buckets with them.
  /// Every rank is asked for the same; only rank 0 fills buckets, whose memory it keeps until it is asked again.
  func exportWeights(fromUnit unit: Int, byteLimit: Int, dtype: DType) async throws -> WeightExport
  /// The buckets are not needed any more.
  func releaseWeights() async throws
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

  /// - Throws: what a source or a target threw first; the targets then wait for another, whole update.
  public func update(version: String) async throws {
    do {
      try await forEach(targets) { try await $0.beginWeightUpdate() }
      var unit: Int? = 0
      while let first = unit {
        let export = try await export(fromUnit: first)
        for bucket in export.buckets { try await forEach(targets) { try await $0.loadWeights(bucket) } }
        unit = export.nextUnit
      }
      try await forEach(targets) { try await $0.endWeightUpdate(version: version) }
    } catch {
      // A source that is gone has let its memory go.
      try? await forEach(sources) { try await $0.releaseWeights() }
      throw error
    }
    try await forEach(sources) { try await $0.releaseWeights() }
  }

  /// - Returns: rank 0's export.
  private func export(fromUnit unit: Int) async throws -> WeightExport {
    try await withThrowingTaskGroup(of: WeightExport?.self) { group in
      for (rank, source) in sources.enumerated() {
        group.addTask {
          let export = try await source.exportWeights(fromUnit: unit, byteLimit: bufferSize, dtype: dtype)
          return rank == 0 ? export : nil
        }
      }
      return try await group.reduce(nil as WeightExport?) { $0 ?? $1 }!
    }
  }

  private func forEach<Part: Sendable>(
    _ parts: [Part], _ body: @escaping @Sendable (Part) async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for part in parts { group.addTask { try await body(part) } }
      try await group.waitForAll()
    }
  }
}
