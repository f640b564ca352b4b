import Checkpoints
import Inference
import TestSupport
import Testing
import Torch
import WeightSync

@Suite struct CopyPlanTests {
  /// Every element that an engine's rank holds comes once, from a rank that holds it, for any two layouts.
  @Test(arguments: 0..<8) func anyLayoutToAnyOther(seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    for _ in 0..<60 {
      let tensors = (0..<4).map { index in
        ("t\(index)", (0..<Int.random(in: 0...3, using: &random)).map { _ in Int.random(in: 1...9, using: &random) })
      }
      let sources = randomLayout(tensors, ranks: Int.random(in: 1...5, using: &random), replicas: true, dtype: .float32, &random)
      let engines = (0..<Int.random(in: 1...3, using: &random)).map { _ in
        randomLayout(tensors, ranks: Int.random(in: 1...4, using: &random), replicas: true, dtype: .bfloat16, &random)
      }
      let plan = try CopyPlan(from: sources, to: engines)
      for (engine, ranks) in engines.enumerated() {
        for (rank, shards) in ranks.enumerated() {
          for shard in shards {
            let parts = plan.transfers.flatMap { transfer in
              transfer.destinations.filter { $0.engine == engine && $0.rank == rank && transfer.shard.name == shard.name }
            }.map(\.box)
            #expect(parts.overlap() == nil && parts.hole(in: shard.box) == nil, "\(shard) of \(parts)")
            #expect(parts.reduce(0) { $0 + $1.count } == shard.box.count)
          }
        }
      }
      for transfer in plan.transfers {
        #expect(sources[transfer.source].contains { $0.name == transfer.shard.name && $0.box == transfer.shard.box })
        #expect(transfer.shard.dtype == .bfloat16 && !transfer.destinations.isEmpty)
      }
      // Rounds hold the same elements, in buckets that keep to the limit.
      let limit = Int.random(in: 1...400, using: &random)
      let rounds = plan.rounds(bufferSize: limit)
      for transfer in plan.transfers {
        let boxes = rounds.flatMap { $0[transfer.source] }.filter { $0.name == transfer.shard.name }.map(\.box)
        #expect(boxes.overlap() == nil && boxes.hole(in: transfer.shard.box) == nil)
      }
      let senders = Set(plan.transfers.map(\.source)).count
      for bucket in rounds.joined() where bucket.count > 1 {
        #expect(bucket.reduce(0) { ($0 + 63) / 64 * 64 + $1.byteCount } * 2 * senders <= limit)
      }
    }
  }

  /// What an engine can do without need not be there; what is there is sent.
  @Test func optionalTensorsMayBeMissing() throws {
    func shard(_ name: String, isOptional: Bool = false) -> WeightShard {
      WeightShard(name, shape: [4], box: TensorBox(whole: [4]), dtype: .float32, isOptional: isOptional)
    }
    let engines = [[[shard("a"), shard("b", isOptional: true), shard("c", isOptional: true)]]]
    #expect(try CopyPlan(from: [[shard("a"), shard("c")]], to: engines).transfers.map(\.shard.name) == ["a", "c"])
    #expect(throws: WeightSyncError.self) { try CopyPlan(from: [[shard("c")]], to: engines) }
  }

  /// Rank by rank, boxes that tile each tensor; with replicas a box may be on several ranks.
  private func randomLayout(
    _ tensors: [(name: String, shape: [Int])], ranks: Int, replicas: Bool, dtype: DType, _ random: inout SeededGenerator
  ) -> [[WeightShard]] {
    var layout = Array(repeating: [WeightShard](), count: ranks)
    for (name, shape) in tensors {
      var boxes = [TensorBox(whole: shape)]
      for _ in 0..<Int.random(in: 0...3, using: &random) {
        let box = boxes.removeFirst()
        guard let dimension = box.sizes.indices.filter({ box.sizes[$0] > 1 }).randomElement(using: &random) else {
          boxes.append(box)
          continue
        }
        let cut = Int.random(in: 1..<box.sizes[dimension], using: &random)
        var (first, second) = (box, box)
        first.sizes[dimension] = cut
        (second.offsets[dimension], second.sizes[dimension]) = (box.offsets[dimension] + cut, box.sizes[dimension] - cut)
        boxes += [first, second]
      }
      // A rank holds one box of a tensor at most, as in a model.
      var free = Array(0..<ranks).shuffled(using: &random)
      if boxes.count > ranks { boxes = [TensorBox(whole: shape)] }
      for box in boxes { layout[free.removeFirst()].append(WeightShard(name, shape: shape, box: box, dtype: dtype)) }
      for rank in free where replicas {
        layout[rank].append(WeightShard(name, shape: shape, box: boxes.randomElement(using: &random)!, dtype: dtype))
      }
    }
    return layout
  }

  @Test func replicasShareTheWork() throws {
    let shards = (0..<40).map { WeightShard("w\($0)", shape: [$0 + 1, 8], box: TensorBox(whole: [$0 + 1, 8]), dtype: .float32) }
    let bytes = try CopyPlan(from: Array(repeating: shards, count: 4), to: [[shards]]).bytesBySource
    #expect(bytes.reduce(0, +) == shards.reduce(0) { $0 + $1.byteCount })
    #expect(bytes.max()! - bytes.min()! <= shards.last!.byteCount)
  }

  @Test func disagreementsAreNamed() {
    func shard(_ name: String, _ shape: [Int], _ rows: Range<Int>? = nil, _ dtype: DType = .float32) -> WeightShard {
      var box = TensorBox(whole: shape)
      if let rows { (box.offsets[0], box.sizes[0]) = (rows.lowerBound, rows.count) }
      return WeightShard(name, shape: shape, box: box, dtype: dtype)
    }
    let cases: [([[WeightShard]], [[[WeightShard]]], String)] = [
      ([[shard("a", [2])]], [[[shard("b", [2])]]], "'b', which no rank of the trainer holds"),
      ([[shard("a", [2])]], [[[shard("a", [3])]]], "'a' has shape [2] in the trainer and [3] in the engines"),
      ([[shard("a", [4], 0..<2)]], [[[shard("a", [4])]]], "No rank of the trainer holds [2:4] of 'a'"),
      ([[shard("a", [4], 0..<3)], [shard("a", [4], 2..<4)]], [[[shard("a", [4])]]], "overlap"),
      ([[shard("a", [4])]], [[[shard("a", [4])]], [[shard("a", [4], nil, .bfloat16)]]], "bfloat16"),
    ]
    for (sources, engines, words) in cases {
      let error = #expect(throws: WeightSyncError.self) { try CopyPlan(from: sources, to: engines) }
      #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }
    // What only the trainer has is left there.
    let plan = try? CopyPlan(from: [[shard("a", [4]), shard("extra", [9])]], to: [[[shard("a", [4])]]])
    #expect(plan?.transfers.map(\.shard.name) == ["a"])
  }
}
