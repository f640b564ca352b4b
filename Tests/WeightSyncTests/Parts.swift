import Foundation
import Synchronization
import Torch
import WeightSync

/// The sentence of a failure that a test asked for.
struct Injected: Error, Equatable, CustomStringConvertible {
  let description: String
}

/// A rank whose units are made when they are asked for; rank 0 fills buckets.
actor UnitSource: WeightSource {
  typealias Unit = @Sendable () -> [(name: String, tensor: Tensor)]

  private let rank: Int
  private let units: [Unit]
  private let failsAtUnit: Int?
  private var exporter = WeightExporter()
  private(set) var requests: [Int] = []

  init(rank: Int = 0, units: [Unit], failsAtUnit: Int? = nil) {
    (self.rank, self.units, self.failsAtUnit) = (rank, units, failsAtUnit)
  }

  func exportWeights(fromUnit unit: Int, byteLimit: Int, dtype: DType) throws -> WeightExport {
    requests.append(unit)
    let counts = units.map { unit in unit().reduce(0) { $0 + $1.tensor.count } }
    return try exporter.export(
      fromUnit: unit, elementCounts: counts, byteLimit: byteLimit, dtype: dtype, fills: rank == 0
    ) { index in
      if index == failsAtUnit { throw Injected(description: "rank \(rank) cannot gather unit \(index)") }
      return units[index]()
    }
  }

  func releaseWeights() { exporter.release() }
}

/// An engine that keeps what arrives, byte by byte.
actor RecordingTarget: WeightTarget {
  struct Arrival: Equatable {
    let name: String
    let dtype: DType
    let shape: [Int]
    let bytes: [UInt8]

    init(_ name: String, _ tensor: Tensor) {
      (self.name, dtype, shape, bytes) = (name, tensor.dtype, tensor.shape, tensor.withBytes { Array($0) })
    }
  }

  enum Moment: Sendable { case begin, load(Int), end }

  private let failure: Moment?
  private(set) var buckets: [WeightBucket] = []
  private(set) var arrivals: [Arrival] = []
  private(set) var versions: [String] = []
  private(set) var begins = 0

  init(failingAt failure: Moment? = nil) { self.failure = failure }

  func beginWeightUpdate() throws {
    if case .begin = failure { throw Injected(description: "the engine cannot begin") }
    begins += 1
    (buckets, arrivals) = ([], [])
  }

  func loadWeights(_ bucket: WeightBucket) throws {
    if case .load(buckets.count) = failure { throw Injected(description: "the engine cannot load bucket \(buckets.count)") }
    buckets.append(bucket)
    arrivals += try bucket.open().map { Arrival($0.name, $0.tensor) }
  }

  func endWeightUpdate(version: String) throws {
    if case .end = failure { throw Injected(description: "the engine cannot end") }
    versions.append(version)
  }
}

/// Descriptors and mappings of this process that belong to weight buckets.
func openBuckets() throws -> Int {
  let files = FileManager.default
  let descriptors = try files.contentsOfDirectory(atPath: "/proc/self/fd").filter {
    (try? files.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)"))?.contains("slime-weights") == true
  }
  let mappings = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8).split(separator: "\n").filter {
    $0.contains("slime-weights")
  }
  return descriptors.count + mappings.count
}
