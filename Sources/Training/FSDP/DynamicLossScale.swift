/// What the loss is multiplied by so that fp16 can hold its gradients: smaller after an overflow, larger after many
/// steps without (Micikevicius et al., "Mixed Precision Training", 2018; the rules and numbers are those of PyTorch's
/// `GradScaler`).
public struct DynamicLossScale: Sendable, Equatable {
  public struct Options: Sendable, Equatable, Codable {
    public var initial = 65536.0
    public var growthFactor = 2.0
    public var backoffFactor = 0.5
    /// Steps without overflow after which it grows.
    public var growthInterval = 2000
    /// It never falls below.
    public var minimum = 1.0

    public init() {}
  }

  public private(set) var scale: Double
  /// Steps without overflow since it changed.
  public private(set) var goodSteps = 0
  /// Steps left out in all.
  public private(set) var skippedSteps = 0

  public init(_ options: Options) { scale = options.initial }

  init(scale: Double, goodSteps: Int, skippedSteps: Int) {
    (self.scale, self.goodSteps, self.skippedSteps) = (scale, goodSteps, skippedSteps)
  }

  /// Learns whether a step's gradients were finite.
  public mutating func update(isFinite: Bool, _ options: Options) {
    if isFinite {
      goodSteps += 1
      guard goodSteps == options.growthInterval else { return }
      scale *= options.growthFactor
    } else {
      skippedSteps += 1
      scale = max(scale * options.backoffFactor, options.minimum)
    }
    goodSteps = 0
  }
}
