/// AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019) on fp32 tensors, one fused kernel for all.
///
/// The arithmetic is that of `torch.optim.AdamW`.
public final class AdamW {
  public struct Options: Sendable, Equatable, Codable {
    public var beta1 = 0.9
    public var beta2 = 0.999
    public var epsilon = 1e-8
    public var weightDecay = 0.0

    public init(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0) {
      (self.beta1, self.beta2, self.epsilon, self.weightDecay) = (beta1, beta2, epsilon, weightDecay)
    }
  }

  public let options: Options
  public let parameters: [Tensor]
  /// First and second moments and the number of steps, one a parameter.
  public let firstMoments: [Tensor]
  public let secondMoments: [Tensor]
  public let steps: [Tensor]

  public init(_ parameters: [Tensor], options: Options) {
    self.options = options
    self.parameters = parameters
    firstMoments = parameters.map { $0.detached().zerosLike() }
    secondMoments = parameters.map { $0.detached().zerosLike() }
    steps = parameters.map { Tensor.zeros([], device: $0.device) }
  }

  /// One step with the parameters' `.grad`; those without a gradient stay as they are.
  /// - Parameters:
  ///   - gradientScale: what gradients are multiplied by.
  ///   - copies: takes what was stepped, one a parameter, in a type and on a device of their own; nil: nothing does.
  public func step(learningRate: Double, gradientScale: Double = 1, writing copies: [Tensor]? = nil) {
    let live = parameters.indices.filter { parameters[$0].grad != nil }
    guard !live.isEmpty else { return }
    withoutGradients {
      let steps = live.map { self.steps[$0] }
      Tensor.foreachAdd_(steps, scalar: 1)
      if live.allSatisfy({ hasKernel($0, copies?[$0]) }) {
        for index in live {
          Kernels.adamW(
            parameters[index], first: firstMoments[index], second: secondMoments[index], gradients: parameters[index].grad!,
            low: copies?[index], step: self.steps[index], learningRate: learningRate, options: options,
            gradientScale: gradientScale)
        }
        return
      }
      if gradientScale != 1 { Tensor.foreachMul_(live.map { parameters[$0].grad! }, scalar: gradientScale) }
      Tensor.fusedAdamw_(
        live.map { parameters[$0] }, grads: live.map { parameters[$0].grad! }, expAvgs: live.map { firstMoments[$0] },
        expAvgSqs: live.map { secondMoments[$0] }, maxExpAvgSqs: [], stateSteps: steps, lr: learningRate,
        beta1: options.beta1, beta2: options.beta2, weightDecay: options.weightDecay, eps: options.epsilon,
        amsgrad: false, maximize: false)
      for index in live {
        guard let copy = copies?[index] else { continue }
        // Fewer bytes travel in the copy's type.
        let stepped = parameters[index]
        copy.copy_(stepped.device == copy.device ? stepped : stepped.to(dtype: copy.dtype))
      }
    }
  }

  /// Whether the kernel that also writes a copy in bf16 can take a parameter.
  private func hasKernel(_ index: Int, _ copy: Tensor?) -> Bool {
    let parameter = parameters[index]
    return Kernels.run(on: parameter.device, .bfloat16) && parameter.dtype == .float32 && parameter.isContiguous
      && (copy.map { $0.dtype == .bfloat16 && $0.device == parameter.device && $0.isContiguous } ?? true)
  }
}
