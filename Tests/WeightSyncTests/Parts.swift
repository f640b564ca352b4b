import Checkpoints
import Foundation
import Inference
import Torch
import WeightSync

/// The sentence of a failure that a test asked for.
struct Injected: Error, Equatable, CustomStringConvertible {
  let description: String
}

/// Weights that are only read.
struct Weights: @unchecked Sendable {
  let tensors: [(name: String, tensor: Tensor)]
  init(_ tensors: [(name: String, tensor: Tensor)]) { self.tensors = tensors }
  subscript(name: String) -> Tensor { tensors.first { $0.name == name }!.tensor }

  /// All of them on one rank.
  var whole: [WeightShard] {
    tensors.map { WeightShard($0.name, shape: $0.tensor.shape, box: TensorBox(whole: $0.tensor.shape), dtype: $0.tensor.dtype) }
  }
}

/// A rank of a trainer that holds boxes of weights.
actor ShardSource: WeightSliceSource {
  private let rank: Int
  private let weights: Weights
  private let shards: [WeightShard]
  private let failsAtBucket: Int?
  private var exporter: SliceExporter
  private let device: Device
  private(set) var buckets: [SliceBucket] = []
  /// Values of its own, of which engines read in place.
  private var own: [WeightSlice] = []
  private var shared: SharedWeights?

  /// - Parameter shares: it has values of its own, which it lets engines read in place if it can.
  init(
    rank: Int = 0, _ weights: Weights, _ shards: [WeightShard]? = nil, shares: Bool = false, device: Device = .cpu,
    failsAtBucket: Int? = nil
  ) {
    (self.device, exporter) = (device, SliceExporter(device: device))
    (self.rank, self.weights, self.shards) = (rank, weights, shards ?? weights.whole)
    self.failsAtBucket = failsAtBucket
    guard shares else { return }
    own = self.shards.map { shard in
      var shard = shard
      let values = Self.part(weights, shard)
      shard.dtype = values.dtype
      return WeightSlice(shard, values.isContiguous ? values.to(device: device, copy: true) : values)
    }
  }

  private static func part(_ weights: Weights, _ shard: WeightShard) -> Tensor {
    weights[shard.name].narrowed(from: TensorBox(whole: shard.shape), to: shard.box)
  }

  func weightShards() -> [WeightShard] { shards }

  func shareWeights() throws -> SliceBucket? {
    guard !own.isEmpty else { return nil }
    shared = try shared ?? SharedWeights(moving: own, on: device)
    return shared?.bucket
  }

  func settleWeights() {}

  /// Takes other values.
  func step(to weights: Weights) { for slice in own { slice.tensor.copy_(Self.part(weights, slice.shard)) } }

  func fillBucket(_ wanted: [WeightShard], buffer: Int, capacity: Int) throws -> SliceBucket {
    if failsAtBucket == buckets.count { throw Injected(description: "rank \(rank) cannot fill bucket \(buckets.count)") }
    let bucket = try exporter.fill(wanted, buffer: buffer, capacity: capacity) { shard in
      guard shards.contains(where: { $0.name == shard.name && $0.box.intersection(shard.box) == shard.box }) else {
        throw Injected(description: "rank \(rank) does not hold \(shard)")
      }
      return Self.part(weights, shard)
    }
    buckets.append(bucket)
    return bucket
  }

  func releaseWeights() { exporter.release() }
}

/// An engine whose ranks keep what arrives, and count how often each element did.
actor RecordingTarget: WeightTarget {
  enum Moment: Sendable { case begin, load(Int), end, copy }

  nonisolated let name: String
  private let shards: [[WeightShard]]
  private let failure: Moment?
  private var importer = SliceImporter()
  private var values: [[String: Tensor]] = []
  private var counts: [[String: Tensor]] = []
  private(set) var loads = 0
  private(set) var versions: [String] = []
  private(set) var begins = 0
  private(set) var abandons = 0
  private(set) var links = 0
  private var linked: [WeightSlice] = []

  init(_ shards: [[WeightShard]], name: String = "the engine", failingAt failure: Moment? = nil) {
    (self.shards, self.name, self.failure) = (shards, name, failure)
  }

  func weightShards() -> [[WeightShard]] { shards }

  func linkWeights(_ shared: [SliceBucket]) throws {
    var opening = SliceImporter()
    linked = try opening.slices(of: shared)
    links += 1
  }

  func copyLinkedWeights(version: String) throws {
    if case .copy = failure { throw Injected(description: "it cannot copy") }
    clear()
    take(linked)
    versions.append(version)
  }

  func beginWeightUpdate() throws {
    if case .begin = failure { throw Injected(description: "it cannot begin") }
    begins += 1
    loads = 0
    clear()
  }

  private func clear() {
    values = shards.map { Dictionary(uniqueKeysWithValues: $0.map { ($0.name, .zeros($0.box.sizes, dtype: $0.dtype)) }) }
    counts = shards.map { Dictionary(uniqueKeysWithValues: $0.map { ($0.name, .zeros($0.box.sizes, dtype: .int32)) }) }
  }

  func loadWeights(_ buckets: [SliceBucket]) throws {
    if case .load(loads) = failure { throw Injected(description: "it cannot load") }
    loads += 1
    take(try importer.slices(of: buckets))
  }

  private func take(_ slices: [WeightSlice]) {
    for slice in slices {
      for (rank, shards) in shards.enumerated() {
        for shard in shards where shard.name == slice.shard.name {
          guard let common = shard.box.intersection(slice.shard.box) else { continue }
          values[rank][shard.name]!.narrowed(from: shard.box, to: common)
            .copy_(slice.tensor.narrowed(from: slice.shard.box, to: common))
          counts[rank][shard.name]!.narrowed(from: shard.box, to: common).add_(1)
        }
      }
    }
  }

  func endWeightUpdate(version: String) throws {
    importer.close()
    if case .end = failure { throw Injected(description: "it cannot end") }
    versions.append(version)
  }

  func abandonWeightUpdate() {
    importer.close()
    abandons += 1
  }

  /// Whether every element that a rank holds arrived, once, with the bits that it has in `weights`.
  func holds(_ weights: Weights) -> Bool {
    zip(shards, zip(values, counts)).allSatisfy { shards, arrived in
      shards.allSatisfy { shard in
        let expected = weights[shard.name].to(dtype: shard.dtype).narrowed(from: TensorBox(whole: shard.shape), to: shard.box)
        return arrived.0[shard.name]!.withBytes { found in expected.withBytes { found.elementsEqual($0) } }
          && arrived.1[shard.name]!.array(Int32.self).allSatisfy { $0 == 1 }
      }
    }
  }
}

/// Descriptors and mappings of this process that belong to weight buckets. An engine that goes lets its own go a moment later.
func openBuckets() throws -> Int {
  let deadline = ContinuousClock.now + .seconds(3)
  while true {
    let count = try openBucketsNow()
    if count == 0 || ContinuousClock.now > deadline { return count }
    usleep(10_000)
  }
}

private func openBucketsNow() throws -> Int {
  let files = FileManager.default
  let descriptors = try files.contentsOfDirectory(atPath: "/proc/self/fd").filter {
    (try? files.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)"))?.contains("slime-weights") == true
  }
  let mappings = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8).split(separator: "\n").filter {
    $0.contains("slime-weights")
  }
  return descriptors.count + mappings.count
}
