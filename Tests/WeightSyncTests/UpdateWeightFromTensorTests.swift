import Checkpoints
import Inference
import TestSupport
import Testing
import Torch
import WeightSync

@Suite(.serialized) struct UpdateWeightFromTensorTests {
  /// All kinds of tensors: without dimensions, odd sizes, not contiguous, of other types.
  static let weights = Weights([
    ("embed", random([37, 16], 1)), ("scalar", random([], 2)), ("a", random([5], 3)),
    ("transposed", random([7, 9], 5).transpose(0, dim1: 1)), ("half", random([3, 11], 6).to(dtype: .bfloat16)),
    ("wide", random([2, 2, 2], 7).to(dtype: .float64)), ("b", random([250], 8)), ("rows", random([8, 6], 9)[2..<5]),
  ])

  static func random(_ shape: [Int], _ seed: UInt64) -> Tensor { .randn(shape, generator: Generator(seed: seed)) }

  static func shards(_ dtype: DType) -> [WeightShard] {
    weights.whole.map { WeightShard($0.name, shape: $0.shape, box: $0.box, dtype: dtype) }
  }

  /// Two ranks: one has the first rows of what has rows, the other the rest.
  static func halves(_ dtype: DType) -> [[WeightShard]] {
    (0..<2).map { rank in
      shards(dtype).compactMap { shard in
        guard let rows = shard.shape.first else { return shard }
        var part = shard
        (part.box.offsets[0], part.box.sizes[0]) = rank == 0 ? (0, rows / 2) : (rows / 2, rows - rows / 2)
        return part
      }
    }
  }

  /// Smaller than any tensor, around the alignment, a tensor, everything.
  @Test(arguments: [1, 64, 129, 2368, 4872, 8192, 1 << 30], [DType.float32, .bfloat16, .float16, .float8e4m3])
  func whatArrivesIsWhatWasSent(byteLimit: Int, dtype: DType) async throws {
    let sources = Self.halves(.float32).enumerated().map { ShardSource(rank: $0, Self.weights, $1) }
    let targets = [RecordingTarget([Self.shards(dtype)]), RecordingTarget(Self.halves(dtype))]
    let update = UpdateWeightFromTensor(sources: sources, targets: targets, bufferSize: byteLimit)
    for version in ["7", "8", "fine-tuned"] {
      let report = try await update.update(version: version)
      #expect(report.failures.isEmpty)
      #expect(report.bytes == Self.shards(dtype).reduce(0) { $0 + $1.byteCount })
      for target in targets { #expect(await target.holds(Self.weights)) }
    }
    for target in targets { #expect(await target.versions == ["7", "8", "fine-tuned"]) }
    if byteLimit == 1 << 30 { for source in sources { #expect(await source.buckets.count == 3) } }
    // No more memory than two buckets a rank.
    for source in sources { #expect(Set(await source.buckets.map(\.memory)).count <= 6) }
    #expect(try openBuckets() == 0)
  }

  @Test(arguments: [RecordingTarget.Moment.begin, .load(0), .load(3), .end])
  func theOthersFinishWithoutAFailingTarget(moment: RecordingTarget.Moment) async throws {
    let source = ShardSource(Self.weights)
    let (good, bad) = (
      RecordingTarget([Self.shards(.float32)], name: "engine 0"),
      RecordingTarget([Self.shards(.float32)], name: "engine 1", failingAt: moment)
    )
    let update = UpdateWeightFromTensor(sources: [source], targets: [good, bad], bufferSize: 256)
    let words = switch moment {
    case .begin: "engine 1 failed at the beginning of the update to version 1: it cannot begin"
    case .load(let index): "engine 1 failed at bucket \(index + 1) of "
    case .end: "engine 1 failed at the end of the update to version 1: it cannot end"
    case .copy: ""
    }
    for version in ["1", "2"] {
      let report = try await update.update(version: version)
      #expect(report.failures.count == 1 && report.failures.first?.index == 1)
      if version == "1" { #expect(report.failures.first?.description.hasPrefix(words) == true, "\(report.failures)") }
      #expect(await good.holds(Self.weights))
    }
    #expect(await good.versions == ["1", "2"])
    #expect(await bad.versions.isEmpty)
    #expect(await bad.abandons == 2)
    #expect(try openBuckets() == 0)
    await #expect(throws: Injected.self) {
      try await UpdateWeightFromTensor(sources: [source], targets: [bad], bufferSize: 256).update(version: "3")
    }
    let error = await #expect(throws: WeightSyncError.self) {
      try await UpdateWeightFromTensor(sources: [source], targets: [bad, bad], bufferSize: 256).update(version: "3")
    }
    #expect(error?.description.hasPrefix("The weights reached no engine: engine 1 failed at") == true)
    #expect(try openBuckets() == 0)
  }

  /// What can lie in memory of its own.
  static let compact = Weights(weights.tensors.filter { $0.name != "transposed" })
  static let stepped = Weights(compact.tensors.map { ($0.name, $0.tensor + 1) })

  /// No bucket is filled: engines read the trainer's memory, at every update what is in it then.
  @Test(arguments: [DType.float32, .bfloat16]) func sharedWeightsAreReadInPlace(dtype: DType) async throws {
    let halves = Self.halves(.float32).map { $0.filter { $0.name != "transposed" } }
    let sources = halves.enumerated().map { ShardSource(rank: $0, Self.compact, $1, shares: true) }
    func wanted(_ shards: [WeightShard]) -> [WeightShard] {
      shards.filter { $0.name != "transposed" }.map { WeightShard($0.name, shape: $0.shape, box: $0.box, dtype: dtype) }
    }
    let targets = [
      RecordingTarget([wanted(Self.shards(dtype))]), RecordingTarget(Self.halves(dtype).map(wanted)),
    ]
    let update = UpdateWeightFromTensor(sources: sources, targets: targets, bufferSize: 64)
    for (version, weights) in [("1", Self.compact), ("2", Self.stepped), ("3", Self.compact)] {
      for source in sources { await source.step(to: weights) }
      let report = try await update.update(version: version)
      #expect(report.failures.isEmpty)
      // In the trainer's types.
      #expect(report.bytes == weights.tensors.reduce(0) { $0 + $1.tensor.byteCount })
      for target in targets { #expect(await target.holds(weights)) }
    }
    for target in targets {
      #expect(await target.versions == ["1", "2", "3"])
      #expect(await target.links == 1)
      #expect(await target.begins == 0)
    }
    for source in sources { #expect(await source.buckets.isEmpty) }
  }

  @Test func theOthersCopyWithoutAFailingTarget() async throws {
    let source = ShardSource(Self.compact, shares: true)
    let shards = Self.shards(.float32).filter { $0.name != "transposed" }
    let (good, bad) = (
      RecordingTarget([shards], name: "engine 0"), RecordingTarget([shards], name: "engine 1", failingAt: .copy)
    )
    let update = UpdateWeightFromTensor(sources: [source], targets: [good, bad], bufferSize: 256)
    for version in ["1", "2"] {
      let report = try await update.update(version: version)
      #expect(report.failures.map(\.description) == ["engine 1 failed at the update to version \(version): it cannot copy"])
      #expect(await good.holds(Self.compact))
    }
    #expect(await bad.versions.isEmpty)
    await #expect(throws: Injected.self) {
      try await UpdateWeightFromTensor(sources: [source], targets: [bad], bufferSize: 256).update(version: "3")
    }
  }

  /// Where one rank cannot share, all weights go through buckets.
  @Test func whatCannotBeSharedGoesThroughBuckets() async throws {
    let halves = Self.halves(.float32)
    let sources = [
      ShardSource(rank: 0, Self.weights, halves[0], shares: true), ShardSource(rank: 1, Self.weights, halves[1], shares: true),
    ]
    // Rows of what is transposed are not one piece of memory.
    #expect(try await sources[0].shareWeights() == nil)
    let target = RecordingTarget([Self.shards(.float32)])
    try await UpdateWeightFromTensor(sources: sources, targets: [target], bufferSize: 4096).update(version: "1")
    #expect(await target.holds(Self.weights))
    #expect(await target.links == 0)
  }

  /// Views of a storage stay views of it when it moves.
  @Test func movedWeightsStayInPlace() throws {
    let flat = Tensor.arange(24, dtype: .float32)
    let (first, second) = (flat[0..<12].view([3, 4]), flat[16..<24].view([8]))
    let slices = [("a", first), ("b", second)].map { name, tensor in
      WeightSlice(WeightShard(name, shape: tensor.shape, box: TensorBox(whole: tensor.shape), dtype: .float32), tensor)
    }
    let shared = try #require(try SharedWeights(moving: slices, on: .cpu))
    #expect(flat.array(Float.self) == (0..<24).map(Float.init))
    #expect(shared.bucket.entries.map(\.offset) == [0, 64])
    flat.mul_(2)
    var importer = SliceImporter()
    let opened = try importer.slices(of: [shared.bucket])
    #expect(opened[0].tensor.array(Float.self) == (0..<12).map { Float(2 * $0) })
    #expect(opened[1].tensor.array(Float.self) == (16..<24).map { Float(2 * $0) })
    #expect(second.array(Float.self) == (16..<24).map { Float(2 * $0) })
  }

  @Test(arguments: [0, 1], [0, 3])
  func aFailingSource(rank: Int, bucket: Int) async throws {
    let halves = Self.halves(.float32)
    let sources = (0..<2).map {
      ShardSource(rank: $0, Self.weights, halves[$0], failsAtBucket: $0 == rank ? bucket : nil)
    }
    let target = RecordingTarget([Self.shards(.float32)])
    await #expect(throws: Injected(description: "rank \(rank) cannot fill bucket \(bucket)")) {
      try await UpdateWeightFromTensor(sources: sources, targets: [target], bufferSize: 256).update(version: "1")
    }
    #expect(await target.versions.isEmpty)
    #expect(await target.abandons == 1)
    #expect(try openBuckets() == 0)
  }

  @Test func memoryThatIsGoneOrDamaged() async throws {
    let source = ShardSource(Self.weights)
    let bucket = try await source.fillBucket(Self.shards(.float32), buffer: 0, capacity: 1 << 16)
    var importer = SliceImporter()
    #expect(try importer.slices(of: [bucket]).count == Self.weights.tensors.count)
    var other = bucket
    other.checksum = "0123456789abcdef"
    let damaged = #expect(throws: WeightSyncError.self) { try importer.slices(of: [other]) }
    #expect(damaged?.description.contains("damaged") == true)
    other = bucket
    other.entries[0].offset = bucket.byteCount / 64 * 64 + 64
    #expect(throws: WeightSyncError.self) { try importer.slices(of: [other]) }
    // Filled again, it is not what it was.
    _ = try await source.fillBucket(Array(Self.shards(.float32).reversed()), buffer: 0, capacity: 1 << 16)
    #expect(throws: WeightSyncError.self) { try importer.slices(of: [bucket]) }
    importer.close()
    await source.releaseWeights()
    let gone = #expect(throws: WeightSyncError.self) { try importer.slices(of: [bucket]) }
    #expect(gone?.description.contains("cannot be opened") == true)
    #expect(try openBuckets() == 0)
  }

  /// Units of whole tensors, as engines elsewhere take them.
  @Test(arguments: [1, 2368, 2372, 1 << 30]) func wholeTensorsFillBuckets(byteLimit: Int) throws {
    var exporter = WeightExporter()
    var request = WeightRequest(byteLimit: byteLimit, dtype: .float32)
    var unit: Int? = 0
    var found: [(name: String, bytes: [UInt8])] = []
    while let first = unit {
      request.unit = first
      let export = try exporter.export(request, elementCounts: Self.weights.tensors.map(\.tensor.count), fills: true) {
        [Self.weights.tensors[$0]]
      }
      for bucket in export.buckets {
        #expect(bucket.byteCount <= byteLimit || bucket.entries.count == 1)
        found += try bucket.open().map { weight in (weight.name, weight.tensor.withBytes { Array($0) }) }
      }
      unit = export.nextUnit
    }
    #expect(found.map(\.name) == Self.weights.tensors.map(\.name))
    for (name, bytes) in found { #expect(Self.weights[name].to(dtype: .float32).withBytes { Array($0) } == bytes) }
    exporter.release()
    #expect(try openBuckets() == 0)
  }
}
