/// AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019), in fp32 whatever the types of what it keeps,
/// by one fused kernel for all.
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
  public let weights: [MasterWeights]
  /// First and second moments and the number of steps, one each a weight.
  public let firstMoments: [Tensor]
  public let secondMoments: [Tensor]
  public let steps: [Tensor]

  /// - Parameter precision: the types of the moments.
  public init(_ weights: [MasterWeights], options: Options, precision: OptimizerPrecision = OptimizerPrecision()) {
    self.options = options
    self.weights = weights
    func zeros(_ dtype: DType) -> [Tensor] {
      weights.map { .zeros($0.values.shape, dtype: dtype, device: $0.values.device) }
    }
    (firstMoments, secondMoments) = (zeros(precision.firstMoments), zeros(precision.secondMoments))
    steps = weights.map { Tensor.zeros([], device: $0.values.device) }
  }

  /// All that it keeps besides the weights.
  public var state: [Tensor] { firstMoments + secondMoments + steps }

  /// One step; weights without a gradient stay as they are.
  /// - Parameters:
  ///   - gradients: one a weight, in its shape, fp32 or bf16; may be changed.
  ///   - gradientScale: what gradients are multiplied by.
  ///   - copies: takes what was stepped, one a weight, in a type and on a device of their own; nil: nothing does.
  public func step(
    _ gradients: [Tensor?], learningRate: Double, gradientScale: Double = 1, writing copies: [Tensor]? = nil
  ) {
    let live = zip(weights.indices, gradients).compactMap { index, gradient in gradient.map { (index: index, gradient: $0) } }
    guard !live.isEmpty else { return }
    withoutGradients {
      Tensor.foreachAdd_(live.map { steps[$0.index] }, scalar: 1)
      if live.allSatisfy({ hasKernel($0.index, $0.gradient, copies?[$0.index]) }) {
        for (index, gradient) in live {
          Kernels.adamW(
            weights[index], first: firstMoments[index], second: secondMoments[index], gradients: gradient,
            low: copies?[index], step: steps[index], learningRate: learningRate, options: options,
            gradientScale: gradientScale)
        }
        return
      }
      for (index, gradient) in live where !isPlain(index, gradient) {
        stepInParts(index, gradient, learningRate: learningRate, gradientScale: gradientScale)
      }
      let plain = live.filter { isPlain($0.index, $0.gradient) }
      if gradientScale != 1, !plain.isEmpty { Tensor.foreachMul_(plain.map(\.gradient), scalar: gradientScale) }
      fusedStep(
        plain.map { weights[$0.index].values }, plain.map(\.gradient), plain.map { firstMoments[$0.index] },
        plain.map { secondMoments[$0.index] }, plain.map { steps[$0.index] }, learningRate: learningRate)
      for (index, _) in live {
        guard let copy = copies?[index] else { continue }
        // Fewer bytes travel in the copy's type.
        let stepped = weights[index].whole
        copy.copy_(stepped.device == copy.device ? stepped : stepped.to(dtype: copy.dtype))
      }
    }
  }

  /// Whether our kernel can take a weight: bf16 and fp32 in any combination.
  private func hasKernel(_ index: Int, _ gradient: Tensor, _ copy: Tensor?) -> Bool {
    let values = weights[index].values
    return Kernels.run(on: values.device, .bfloat16) && values.isContiguous && gradient.isContiguous
      && (weights[index].remainders != nil || values.dtype == .float32)
      && (copy.map { $0.dtype == .bfloat16 && $0.device == values.device && $0.isContiguous } ?? true)
  }

  /// Whether libtorch's kernel can take a weight: it wants one type.
  private func isPlain(_ index: Int, _ gradient: Tensor) -> Bool {
    let tensors = [weights[index].values, gradient, firstMoments[index], secondMoments[index]]
    return weights[index].remainders == nil && Set(tensors.map(\.dtype)).count == 1
  }

  private func fusedStep(
    _ weights: [Tensor], _ gradients: [Tensor], _ first: [Tensor], _ second: [Tensor], _ steps: [Tensor], learningRate: Double
  ) {
    guard !weights.isEmpty else { return }
    Tensor.fusedAdamw_(
      weights, grads: gradients, expAvgs: first, expAvgSqs: second, maxExpAvgSqs: [], stateSteps: steps, lr: learningRate,
      beta1: options.beta1, beta2: options.beta2, weightDecay: options.weightDecay, eps: options.epsilon, amsgrad: false,
      maximize: false)
  }

  /// Numbers of which fp32 copies are made at a time.
  private static let partLength = 1 << 20

  /// By libtorch's kernel, on fp32 copies of some numbers at a time.
  private func stepInParts(_ index: Int, _ gradient: Tensor, learningRate: Double, gradientScale: Double) {
    let vectors = [firstMoments[index].flatten(), secondMoments[index].flatten()]
    let gradient = gradient.flatten()
    for start in stride(from: 0, to: gradient.count, by: Self.partLength) {
      let range = start..<min(start + Self.partLength, gradient.count)
      let part = weights[index][range]
      let stepped = part.whole
      let moments = vectors.map { $0[range].to(dtype: .float32) }
      fusedStep(
        [stepped], [gradient[range].to(dtype: .float32) * gradientScale], [moments[0]], [moments[1]], [steps[index]],
        learningRate: learningRate)
      if part.remainders != nil { part.take(stepped) }
      for (kept, moment) in zip(vectors, moments) where kept.dtype != .float32 { kept[range].copy_(moment) }
    }
  }
}
