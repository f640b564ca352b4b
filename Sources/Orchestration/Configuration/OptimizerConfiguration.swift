import Torch

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
  /// bf16 weights are trained beside what each lacks of fp32, and the types of what else is kept can be chosen.
  public var isPrecisionAware = false
  public var gradientType = OptimizerType.float32
  public var firstMomentType = OptimizerType.float32
  public var secondMomentType = OptimizerType.float32
  /// Gradients of bf16 weights add up in fp32, as they do unless `gradientType` says otherwise.
  public var accumulatesInFloat32 = false
  /// Seeds everything random in training.
  public var seed = 1234

  public init() {}

  /// - Throws: when what was chosen is not for weights of this type.
  public func precision(_ dtype: ComputeDType) throws(ConfigurationError) -> OptimizerPrecision {
    var precision = OptimizerPrecision()
    (precision.keepsRemainders, precision.gradients) = (isPrecisionAware, gradientType.tensorType)
    (precision.firstMoments, precision.secondMoments) = (firstMomentType.tensorType, secondMomentType.tensorType)
    try require(
      isPrecisionAware || precision == OptimizerPrecision(),
      "--main-grads-dtype, --exp-avg-dtype and --exp-avg-sq-dtype belong to --use-precision-aware-optimizer; add it, or leave them out")
    try require(
      !isPrecisionAware || dtype == .bfloat16,
      "--use-precision-aware-optimizer trains bf16 weights beside what they lack of fp32, and these are \(dtype.rawValue); "
        + "add --dtype bfloat16, or leave it out")
    try require(
      !accumulatesInFloat32 || gradientType == .float32,
      "--accumulate-allreduce-grads-in-fp32 contradicts --main-grads-dtype \(gradientType.rawValue); give one of them")
    return precision
  }
}

/// A type that the optimizer can keep.
public enum OptimizerType: String, Sendable, Codable, CaseIterable {
  case float32 = "fp32"
  case bfloat16 = "bf16"

  var tensorType: DType { self == .float32 ? .float32 : .bfloat16 }
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
