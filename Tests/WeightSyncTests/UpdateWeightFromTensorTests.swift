import Testing
import Torch
import WeightSync

@Suite(.serialized) struct UpdateWeightFromTensorTests {
  /// Units of all kinds of tensors: none, without elements, without dimensions, odd sizes, not contiguous, other types.
  static let units: [UnitSource.Unit] = [
    { [("embed", random([37, 16], 1)), ("scalar", random([], 2))] },
    { [("a", random([5], 3)), ("none", random([0, 3], 4)), ("transposed", random([7, 9], 5).transpose(0, dim1: 1))] },
    { [] },
    { [("half", random([3, 11], 6).to(dtype: .bfloat16)), ("wide", random([2, 2, 2], 7).to(dtype: .float64))] },
    { [("b", random([250], 8)), ("rows", random([8, 6], 9)[2..<5])] },
  ]

  static func random(_ shape: [Int], _ seed: UInt64) -> Tensor { .randn(shape, generator: Generator(seed: seed)) }

  static func sent(_ dtype: DType) -> [RecordingTarget.Arrival] {
    units.flatMap { $0().map { RecordingTarget.Arrival($0.name, $0.tensor.to(dtype: dtype)) } }
  }

  /// Smaller than any tensor, around the alignment, exactly a tensor (37 · 16 · 4 bytes), a unit, everything.
  @Test(arguments: [1, 4, 63, 64, 65, 2368, 2372, 2436, 4096, 1 << 30], [DType.float32, .bfloat16, .float16, .float8e4m3])
  func whatArrivesIsWhatWasSent(byteLimit: Int, dtype: DType) async throws {
    let source = UnitSource(units: Self.units)
    let target = RecordingTarget()
    try await UpdateWeightFromTensor(sources: [source], targets: [target], bufferSize: byteLimit, dtype: dtype)
      .update(version: "7")
    #expect(await target.arrivals == Self.sent(dtype))
    #expect(await target.versions == ["7"])
    #expect(await target.begins == 1)
    for bucket in await target.buckets {
      #expect(bucket.byteCount <= byteLimit || bucket.entries.count == 1)
      for (entry, next) in zip(bucket.entries, bucket.entries.dropFirst()) {
        #expect(next.offset >= entry.offset + entry.shape.reduce(dtype.size, *) && next.offset % 64 == 0)
      }
    }
    if byteLimit == 1 << 30 { #expect(await target.buckets.count == 1) }
    #expect(try openBuckets() == 0)
  }

  @Test func everyRankGathersAndEveryTargetGetsEverything() async throws {
    let ranks = (0..<3).map { UnitSource(rank: $0, units: Self.units) }
    let targets = [RecordingTarget(), RecordingTarget()]
    let update = UpdateWeightFromTensor(sources: ranks, targets: targets, bufferSize: 300, dtype: .float32)
    for version in ["1", "2", "fine-tuned"] { try await update.update(version: version) }
    for target in targets {
      #expect(await target.arrivals == Self.sent(.float32))
      #expect(await target.versions == ["1", "2", "fine-tuned"])
    }
    let asked = await ranks[0].requests
    #expect(asked.count > 3 && asked.filter { $0 == 0 }.count == 3)
    for rank in ranks { #expect(await rank.requests == asked) }
    #expect(try openBuckets() == 0)
  }

  @Test(arguments: [RecordingTarget.Moment.begin, .load(0), .load(3), .end])
  func aFailingTarget(moment: RecordingTarget.Moment) async throws {
    let source = UnitSource(units: Self.units)
    let (good, bad) = (RecordingTarget(), RecordingTarget(failingAt: moment))
    let sentence = switch moment {
    case .begin: "the engine cannot begin"
    case .load(let index): "the engine cannot load bucket \(index)"
    case .end: "the engine cannot end"
    }
    await #expect(throws: Injected(description: sentence)) {
      try await UpdateWeightFromTensor(sources: [source], targets: [good, bad], bufferSize: 64, dtype: .float32)
        .update(version: "1")
    }
    if case .end = moment {} else { #expect(await good.versions.isEmpty) }
    #expect(try openBuckets() == 0)
    // The next, whole update is as if nothing had happened.
    try await UpdateWeightFromTensor(sources: [source], targets: [good], bufferSize: 64, dtype: .float32).update(version: "2")
    #expect(await good.versions.last == "2")
    #expect(await good.arrivals == Self.sent(.float32))
    #expect(try openBuckets() == 0)
  }

  @Test(arguments: [0, 1], [0, 3])
  func aFailingSource(rank: Int, unit: Int) async throws {
    let sources = (0..<2).map { UnitSource(rank: $0, units: Self.units, failsAtUnit: $0 == rank ? unit : nil) }
    let target = RecordingTarget()
    await #expect(throws: Injected(description: "rank \(rank) cannot gather unit \(unit)")) {
      try await UpdateWeightFromTensor(sources: sources, targets: [target], bufferSize: 64, dtype: .float32)
        .update(version: "1")
    }
    #expect(await target.versions.isEmpty)
    #expect(try openBuckets() == 0)
  }

  @Test func aBucketWhoseMemoryIsGone() async throws {
    let source = UnitSource(units: Self.units)
    let export = try await source.exportWeights(fromUnit: 0, byteLimit: 1 << 20, dtype: .float32)
    var bucket = try #require(export.buckets.first)
    let kept = try bucket.open()
    bucket.byteCount += 1
    #expect(throws: WeightSyncError("the weight bucket \(bucket.path) has \(bucket.byteCount - 1) bytes, not \(bucket.byteCount)")) {
      try bucket.open()
    }
    bucket.byteCount -= 1
    await source.releaseWeights()
    #expect(throws: WeightSyncError("the weight bucket \(bucket.path) cannot be opened: No such file or directory")) {
      try bucket.open()
    }
    // What was opened before lives on.
    #expect(kept.map { RecordingTarget.Arrival($0.name, $0.tensor) } == Self.sent(.float32))
    withExtendedLifetime(kept) {}
  }
}
