import Torch

/// One rank of a trainer, as a source of whole weights, for engines that take them as SGLang does.
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

/// What a `WeightSource` does: fills buckets from a rank's weights, and holds their memory until the next export.
public struct WeightExporter {
  private var memory: [SharedMemory] = []

  public init() {}

  /// - Parameters:
  ///   - elementCounts: how many numbers each unit holds, known on every rank; `weights` gathers one, on every rank.
  ///   - fills: whether this rank fills buckets (rank 0), or only takes part in gathering.
  ///   - keepsType: what goes as it comes (in fp32) whatever `dtype` says, by name.
  public mutating func export(
    fromUnit unit: Int, elementCounts: [Int], byteLimit: Int, dtype: DType, fills: Bool,
    keepsType: (String) -> Bool = { _ in false }, weights: (Int) throws -> [(name: String, tensor: Tensor)]
  ) throws -> WeightExport {
    release()
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
    let filled = try catchingTorchErrors { try WeightBucket.fill(gathered, byteLimit: byteLimit) }
    memory = filled.map(\.memory)
    return WeightExport(buckets: filled.map(\.bucket), nextUnit: next < elementCounts.count ? next : nil)
  }

  /// Gives the memory of the latest export back.
  public mutating func release() { memory = [] }
}
