import Torch

/// What of a trainer's weights is wanted, and in which form.
public struct WeightRequest: Sendable, Codable {
  /// The first unit.
  public var unit = 0
  /// Units are gathered until they hold so many bytes; at least one is.
  public var byteLimit: Int
  /// Of plain numbers that are learned.
  public var dtype: DType
  /// Whether what the checkpoint has as e4m3 is quantised as it has it: numbers and scales.
  public var isFloat8 = false
  /// Where buckets wait until rank 0 broadcasts them: its own GPU, or the CPU; nil: they go into shared memory.
  public var broadcasting: Device.Kind?

  public init(byteLimit: Int, dtype: DType) { (self.byteLimit, self.dtype) = (byteLimit, dtype) }
}

public struct WeightExport: Sendable, Codable {
  public var buckets: [WeightBucket]
  /// The first unit of the next export; nil at the end.
  public var nextUnit: Int?

  public init(buckets: [WeightBucket], nextUnit: Int?) { (self.buckets, self.nextUnit) = (buckets, nextUnit) }
}

/// One rank of a trainer, as a source of whole weights, for engines that take them as SGLang does.
public protocol WeightSource: Sendable {
  /// Gathers units and fills buckets with them. Every rank is asked for the same; only rank 0 fills buckets. It keeps those in
  /// shared memory until it is asked again, and others until they are broadcast.
  func exportWeights(_ request: WeightRequest) async throws -> WeightExport
  /// The buckets are not needed any more.
  func releaseWeights() async throws

  // Rank 0's part in a group with engines.

  /// Opens the store where the ranks of a new group meet.
  /// - Returns: its port.
  func openWeightGroup(rankCount: Int, timeout: Duration) async throws -> Int
  /// - Parameter place: on a GPU, that of this rank is used.
  func joinWeightGroup(_ place: WeightGroupPlace, timeout: Duration) async throws
  /// Returns when a bucket that waits for it has been broadcast. Others may be exported meanwhile.
  func broadcastBucket(_ number: Int) async throws
  func leaveWeightGroup() async throws
}

/// What a `WeightSource` does: fills buckets from a rank's weights, and keeps them.
public struct WeightExporter {
  private var memory: [SharedMemory] = []
  private var waiting: [Int: Tensor] = [:]
  private var count = 0

  public init() {}

  /// - Parameters:
  ///   - elementCounts: how many numbers each unit holds, known on every rank; `weights` gathers one, on every rank.
  ///   - fills: whether this rank fills buckets (rank 0), or only takes part in gathering.
  ///   - device: of this rank.
  ///   - keepsType: what goes as it comes (in fp32) whatever the request says, by name.
  ///   - scaling: how the checkpoint has a tensor as e4m3, by name; nil: it does not.
  public mutating func export(
    _ request: WeightRequest, elementCounts: [Int], fills: Bool, device: Device = .cpu,
    keepsType: (String) -> Bool = { _ in false }, scaling: (String) -> Float8Scaling? = { _ in nil },
    weights: (Int) throws -> [(name: String, tensor: Tensor)]
  ) throws -> WeightExport {
    memory = []
    var gathered: [(name: String, tensor: Tensor)] = []
    var bytes = 0
    var next = request.unit
    repeat {
      let part = try weights(next)
      bytes += elementCounts[next] * request.dtype.size
      // Narrowed at once, so that not more than one unit is held in fp32.
      if fills {
        try catchingTorchErrors {
          for (name, tensor) in part {
            let plain = keepsType(name) ? tensor : tensor.to(dtype: request.dtype)
            guard request.isFloat8, let scaling = scaling(name) else {
              gathered.append((name, plain))
              continue
            }
            let matrix = withoutGradients { Float8Matrix(quantizing: plain, scaling) }
            gathered += [(name, matrix.values), (name + scaling.scaleSuffix, matrix.storedScales(scaling))]
          }
        }
      }
      next += 1
    } while next < elementCounts.count && bytes < request.byteLimit
    let buckets = try catchingTorchErrors { try filled(gathered, request, device) }
    return WeightExport(buckets: buckets, nextUnit: next < elementCounts.count ? next : nil)
  }

  private mutating func filled(
    _ weights: [(name: String, tensor: Tensor)], _ request: WeightRequest, _ device: Device
  ) throws -> [WeightBucket] {
    guard let kind = request.broadcasting else {
      let filled = try WeightBucket.fill(weights, byteLimit: request.byteLimit)
      memory = filled.map(\.memory)
      return filled.map(\.bucket)
    }
    return withoutGradients {
      WeightBucket.divided(weights, byteLimit: request.byteLimit, alignment: 1).map { entries, byteCount, weights in
        let bytes = flattenedBytes(weights.map { $0.tensor.detached().contiguous() }, on: kind == .cuda ? device : .cpu)
        count += 1
        waiting[count] = bytes
        return WeightBucket(
          place: .waiting(number: count, checksum: SliceBucket.checksum(of: bytes)), byteCount: byteCount, entries: entries)
      }
    }
  }

  /// The bytes of a bucket that waits for its broadcast.
  mutating func take(_ number: Int) throws -> Tensor {
    guard let bytes = waiting.removeValue(forKey: number) else { throw WeightSyncError("No weight bucket \(number) waits for its broadcast.") }
    return bytes
  }

  /// Gives all memory back.
  public mutating func release() { (memory, waiting) = ([], [:]) }
}
