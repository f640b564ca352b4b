import Parallelism
import Testing

@Suite struct ParallelLayoutTests {
  private func groups(_ layout: ParallelLayout, _ kind: ParallelGroup) -> Set<[Int]> {
    Set((0..<layout.worldSize).map { layout.ranks(of: kind, with: $0) })
  }

  /// The example in the comments of Megatron-Core's `initialize_model_parallel`: 16 ranks, tensor 2, pipeline 4.
  @Test func groupsAreMegatrons() throws {
    let layout = try ParallelLayout(worldSize: 16, tensorParallelSize: 2, pipelineParallelSize: 4)
    #expect(
      groups(layout, .data) == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9, 11], [12, 14], [13, 15]])
    #expect(
      groups(layout, .tensor) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11], [12, 13], [14, 15]])
    #expect(groups(layout, .pipeline) == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]])
  }

  @Test func contextComesAfterTensor() throws {
    let layout = try ParallelLayout(worldSize: 8, tensorParallelSize: 2, contextParallelSize: 2)
    #expect(groups(layout, .context) == [[0, 2], [1, 3], [4, 6], [5, 7]])
    #expect(groups(layout, .dataContext) == [[0, 2, 4, 6], [1, 3, 5, 7]])
    #expect(groups(layout, .data) == [[0, 4], [1, 5], [2, 6], [3, 7]])
  }

  @Test func expertsAreDividedOverTheSameRanks() throws {
    let layout = try ParallelLayout(
      worldSize: 8, tensorParallelSize: 2, pipelineParallelSize: 2, expertParallelSize: 4, expertTensorParallelSize: 1)
    #expect(groups(layout, .expert) == [[0, 1, 2, 3], [4, 5, 6, 7]])
    #expect(groups(layout, .expertData) == [[0], [1], [2], [3], [4], [5], [6], [7]])
    #expect(layout.dataParallelSize == 2 && layout.expertDataParallelSize == 1)
  }

  @Test func shardGroupsAreNeighbours() throws {
    let layout = try ParallelLayout(worldSize: 8, contextParallelSize: 2, shardSize: 4)
    #expect(groups(layout, .shard) == [[0, 1, 2, 3], [4, 5, 6, 7]])
    #expect(groups(layout, .replicas) == [[0, 4], [1, 5], [2, 6], [3, 7]])
    let whole = try ParallelLayout(worldSize: 8, tensorParallelSize: 2, contextParallelSize: 2)
    #expect(groups(whole, .shard) == groups(whole, .dataContext) && groups(whole, .replicas).count == 8)
    #expect(throws: LayoutError.self) { try ParallelLayout(worldSize: 8, shardSize: 3) }
    #expect(throws: LayoutError.self) { try ParallelLayout(worldSize: 8, tensorParallelSize: 2, shardSize: 8) }
  }

  /// Every kind of group divides the ranks, and each holds its rank once.
  @Test func everyGroupDividesTheWorld() throws {
    for tensor in [1, 2, 3] {
      for context in [1, 2] {
        for pipeline in [1, 2] {
          for expert in [1, 2] {
            let world = tensor * context * pipeline * 2
            guard let layout = try? ParallelLayout(
              worldSize: world, tensorParallelSize: tensor, contextParallelSize: context, pipelineParallelSize: pipeline,
              expertParallelSize: expert, expertTensorParallelSize: 1)
            else { continue }
            for kind in ParallelGroup.allCases {
              #expect(groups(layout, kind).flatMap { $0 }.sorted() == Array(0..<world), "\(kind) of \(layout)")
            }
          }
        }
      }
    }
  }

  @Test func sizesThatDoNotFitAreRefused() {
    #expect(throws: LayoutError.self) { try ParallelLayout(worldSize: 6, tensorParallelSize: 4) }
    #expect(throws: LayoutError.self) { try ParallelLayout(worldSize: 4, expertParallelSize: 3, expertTensorParallelSize: 1) }
    #expect(throws: LayoutError.self) { try ParallelLayout(worldSize: 4, tensorParallelSize: 0) }
  }
}
