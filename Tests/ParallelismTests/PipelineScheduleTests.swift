import Parallelism
import Testing

@Suite struct PipelineScheduleTests {
  static let shapes: [(stages: Int, chunks: Int, microBatches: Int)] = (1...5).flatMap { stages in
    (1...3).flatMap { chunks in
      (1...4).map { (stages, chunks, chunks == 1 ? $0 + stages / 2 : $0 * stages) }
    }
  }

  /// Stages that send without waiting and receive in order get through, and every pass happens once.
  @Test(arguments: [false, true]) func everyStageGetsToItsEnd(forwardOnly: Bool) {
    for (stages, chunks, microBatches) in Self.shapes {
      let schedules = (0..<stages).map {
        PipelineSchedule(
          stage: $0, stageCount: stages, chunkCount: chunks, microBatchCount: microBatches, forwardOnly: forwardOnly)
      }
      for schedule in schedules {
        #expect(schedule.actions.count == microBatches * chunks * (forwardOnly ? 1 : 2))
      }
      // Messages on the way to each stage, by kind, in the order they were sent.
      var forwards = Array(repeating: [(chunk: Int, microBatch: Int)](), count: stages)
      var backwards = forwards
      var places = Array(repeating: 0, count: stages)
      var isMoving = true
      while isMoving {
        isMoving = false
        for stage in 0..<stages {
          while places[stage] < schedules[stage].actions.count {
            switch schedules[stage].actions[places[stage]] {
            case .forward(let chunk, let microBatch):
              if stage > 0 || chunk > 0 {
                guard let message = forwards[stage].first else { break }
                #expect(message == (chunk, microBatch), "stage \(stage) of \(stages), \(chunks) chunks")
                forwards[stage].removeFirst()
              }
              if stage < stages - 1 {
                forwards[stage + 1].append((chunk, microBatch))
              } else if chunk < chunks - 1 {
                forwards[0].append((chunk + 1, microBatch))
              }
              places[stage] += 1
              isMoving = true
              continue
            case .backward(let chunk, let microBatch):
              if stage < stages - 1 || chunk < chunks - 1 {
                guard let message = backwards[stage].first else { break }
                #expect(message == (chunk, microBatch), "stage \(stage) of \(stages), \(chunks) chunks")
                backwards[stage].removeFirst()
              }
              if stage > 0 {
                backwards[stage - 1].append((chunk, microBatch))
              } else if chunk > 0 {
                backwards[stages - 1].append((chunk - 1, microBatch))
              }
              places[stage] += 1
              isMoving = true
              continue
            }
            break
          }
        }
      }
      #expect(places == schedules.map(\.actions.count), "\(stages) stages, \(chunks) chunks, \(microBatches) micro-batches")
      #expect(forwards.allSatisfy(\.isEmpty) && backwards.allSatisfy(\.isEmpty))
    }
  }

  /// 1F1B keeps as many micro-batches in flight as there are stages left, however many there are in all.
  @Test func fewMicroBatchesAreInFlight() {
    for stages in 1...4 {
      for stage in 0..<stages {
        var (inFlight, most) = (0, 0)
        for action in PipelineSchedule(stage: stage, stageCount: stages, microBatchCount: 20).actions {
          if case .forward = action { inFlight += 1 } else { inFlight -= 1 }
          most = max(most, inFlight)
        }
        #expect(most == stages - stage)
      }
    }
  }
}

@Suite struct StagePlanTests {
  @Test func layersAreDivided() throws {
    #expect(try StagePlan(layerCount: 4, stageCount: 1).layers == [[0..<4]])
    #expect(try StagePlan(layerCount: 6, stageCount: 3).layers == [[0..<2], [2..<4], [4..<6]])
    #expect(
      try StagePlan(layerCount: 8, stageCount: 2, layersPerVirtualStage: 2).layers == [[0..<2, 4..<6], [2..<4, 6..<8]])
    #expect(
      try StagePlan(layerCount: 7, stageCount: 3, firstStageLayers: 1, lastStageLayers: 2).layers
        == [[0..<1], [1..<5], [5..<7]])
    #expect(try StagePlan(layerCount: 5, stageCount: 2, firstStageLayers: 2).layers == [[0..<2], [2..<5]])
  }

  @Test func whatCannotBeDividedIsRefused() {
    #expect(throws: LayoutError.self) { try StagePlan(layerCount: 5, stageCount: 2) }
    #expect(throws: LayoutError.self) { try StagePlan(layerCount: 2, stageCount: 3) }
    #expect(throws: LayoutError.self) { try StagePlan(layerCount: 8, stageCount: 2, layersPerVirtualStage: 3) }
    #expect(throws: LayoutError.self) { try StagePlan(layerCount: 8, stageCount: 1, layersPerVirtualStage: 2) }
    #expect(throws: LayoutError.self) { try StagePlan(layerCount: 5, stageCount: 2, firstStageLayers: 2, lastStageLayers: 2) }
    #expect(throws: LayoutError.self) { try StagePlan(layerCount: 4, stageCount: 2, firstStageLayers: 4) }
  }
}
