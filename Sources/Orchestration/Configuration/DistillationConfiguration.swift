import Models

/// On-policy distillation: the student samples, and a teacher's log-probabilities of the same tokens are learned from.
public struct DistillationConfiguration: Sendable, Equatable, Codable {
  public var isOn = false
  /// Where the teacher runs.
  public var type: DistillationType?
  /// A Hugging Face folder.
  public var teacherLoad: String?
  /// What log p(student) − log p(teacher) takes from a token's advantage.
  public var coefficient = 1.0

  public init() {}

  func validate(isSupervised: Bool) throws(ConfigurationError) {
    guard isOn else {
      try require(
        self == DistillationConfiguration(),
        "--opd-type, --opd-teacher-load and --opd-kl-coef have no effect without --use-opd; add it")
      return
    }
    try require(!isSupervised, "--use-opd has no effect on --loss-type sft_loss; leave it out")
    try require(type != nil, "--use-opd needs --opd-type megatron: the trainer runs the teacher")
    try require(
      type == .megatron,
      "--opd-type sglang is not supported yet: no engine runs a teacher; use --opd-type megatron --opd-teacher-load FOLDER")
    try require(teacherLoad != nil, "--opd-type megatron needs --opd-teacher-load FOLDER: the teacher's Hugging Face folder")
    try require(coefficient >= 0 && coefficient.isFinite, "--opd-kl-coef must not be negative, not \(coefficient)")
  }
}

/// slime's names; `megatron` is either training backend.
public enum DistillationType: String, Sendable, Codable, CaseIterable {
  case megatron, sglang
}

extension ModelConfiguration {
  /// Whether weights of the other model can stand in this one.
  func hasArchitecture(of other: ModelConfiguration) -> Bool {
    var comparable = other
    (comparable.dtype, comparable.initializerRange) = (dtype, initializerRange)
    (comparable.contextLength, comparable.head) = (contextLength, head)
    // A teacher needs no layers that predict tokens further on.
    comparable.extraLayerCount = extraLayerCount
    return self == comparable
  }
}
