/// Which layers each stage of a pipeline holds, chunk by chunk.
public struct StagePlan: Sendable, Equatable {
  /// `[stage][chunk]`; with several chunks a stage's are `stageCount` chunks apart in the model.
  public let layers: [[Range<Int>]]

  public var stageCount: Int { layers.count }
  public var chunkCount: Int { layers[0].count }

  /// - Parameters:
  ///   - layersPerVirtualStage: layers a chunk (`--num-layers-per-virtual-pipeline-stage`); nil: one chunk a stage.
  ///   - firstStageLayers: layers of the first stage (`--decoder-first-pipeline-num-layers`), and of the last one; nil:
  ///     as many as the others.
  /// - Throws: `LayoutError` when the layers cannot be divided so.
  public init(
    layerCount: Int, stageCount: Int, layersPerVirtualStage: Int? = nil, firstStageLayers: Int? = nil,
    lastStageLayers: Int? = nil
  ) throws(LayoutError) {
    var perStage: [Int]
    if stageCount == 1 {
      guard layersPerVirtualStage == nil, firstStageLayers == nil, lastStageLayers == nil else {
        throw LayoutError(
          "--num-layers-per-virtual-pipeline-stage and --decoder-first/last-pipeline-num-layers need "
            + "--pipeline-model-parallel-size above 1; leave them out or raise it")
      }
      perStage = [layerCount]
    } else {
      let rest = layerCount - (firstStageLayers ?? 0) - (lastStageLayers ?? 0)
      let middle = stageCount - (firstStageLayers == nil ? 0 : 1) - (lastStageLayers == nil ? 0 : 1)
      guard rest >= 0, middle == 0 ? rest == 0 : rest % middle == 0, middle == 0 || rest / middle > 0 else {
        throw LayoutError(
          "\(layerCount) layers cannot be divided over --pipeline-model-parallel-size \(stageCount) with "
            + "\(firstStageLayers.map(String.init) ?? "equally many") in the first and "
            + "\(lastStageLayers.map(String.init) ?? "equally many") in the last stage: \(rest) layers are left for "
            + "\(middle) stages; give --decoder-first-pipeline-num-layers or --decoder-last-pipeline-num-layers so that they divide")
      }
      perStage = Array(repeating: middle == 0 ? 0 : rest / middle, count: stageCount)
      if let firstStageLayers { perStage[0] = firstStageLayers }
      if let lastStageLayers { perStage[stageCount - 1] = lastStageLayers }
      guard perStage.allSatisfy({ $0 > 0 }) else {
        throw LayoutError("every pipeline stage needs a layer: \(layerCount) layers over \(stageCount) stages give \(perStage)")
      }
    }
    guard let perChunk = layersPerVirtualStage else {
      var start = 0
      layers = perStage.map { count in
        defer { start += count }
        return [start..<start + count]
      }
      return
    }
    guard firstStageLayers == nil, lastStageLayers == nil else {
      throw LayoutError(
        "--num-layers-per-virtual-pipeline-stage cannot be combined with --decoder-first/last-pipeline-num-layers; leave one out")
    }
    guard perChunk > 0, perStage[0] % perChunk == 0 else {
      throw LayoutError(
        "--num-layers-per-virtual-pipeline-stage \(perChunk) does not divide the \(perStage[0]) layers of a pipeline stage")
    }
    let chunks = perStage[0] / perChunk
    layers = (0..<stageCount).map { stage in
      (0..<chunks).map { chunk in
        let start = (chunk * stageCount + stage) * perChunk
        return start..<start + perChunk
      }
    }
  }
}
