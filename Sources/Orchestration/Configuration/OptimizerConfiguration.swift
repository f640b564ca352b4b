/// AdamW and its learning rate schedule. Counts are optimizer steps.
public struct OptimizerConfiguration: Sendable, Equatable, Codable {
  public var optimizer = OptimizerKind.adam
  public var learningRate = 1e-6
  public var minLearningRate = 0.0
  public var decayStyle = LearningRateDecayStyle.constant
  /// nil: all steps of the run.
  public var decaySteps: Int?
  public var warmupSteps = 0
  /// Warmup as a share of `decaySteps`.
  public var warmupFraction: Double?
  /// The learning rate that warmup starts from.
  public var warmupInit = 0.0
  /// Length of the annealing phase of `WSD`.
  public var wsdDecaySteps: Int?
  public var wsdDecayStyle = WSDDecayStyle.exponential
  public var weightDecay = 0.0
  public var beta1 = 0.9
  public var beta2 = 0.95
  public var epsilon = 1e-8
  /// Gradients are scaled down to this global norm; 0: never.
  public var clipGradient = 1.0
  /// Trained fp32 weights and moments stay in host memory, and are stepped there.
  public var offloadsToHost = false
  /// Seeds everything random in training.
  public var seed = 1234

  public init() {}
}

public enum OptimizerKind: String, Sendable, Codable, CaseIterable {
  case adam
}

public enum LearningRateDecayStyle: String, Sendable, Codable, CaseIterable {
  case constant, linear, cosine
  case inverseSquareRoot = "inverse-square-root"
  case warmupStableDecay = "WSD"
}

public enum WSDDecayStyle: String, Sendable, Codable, CaseIterable {
  case linear, cosine, exponential
  case minusSquareRoot = "minus_sqrt"
}
