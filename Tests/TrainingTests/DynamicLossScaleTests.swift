import Testing
import Training

@Suite struct DynamicLossScaleTests {
  /// The rules of PyTorch's `GradScaler.update`.
  @Test func fallsAfterOverflowAndGrowsAfterQuiet() {
    var options = DynamicLossScale.Options()
    (options.initial, options.growthInterval, options.minimum) = (8, 3, 1)
    var scale = DynamicLossScale(options)
    var seen: [Double] = []
    for isFinite in [true, true, false, true, true, true, true, true, false, true, true, true, false, false, false, false, false] {
      scale.update(isFinite: isFinite, options)
      seen.append(scale.scale)
    }
    #expect(seen == [8, 8, 4, 4, 4, 8, 8, 8, 4, 4, 4, 8, 4, 2, 1, 1, 1])
    #expect(scale.skippedSteps == 7 && scale.goodSteps == 0)
  }
}
