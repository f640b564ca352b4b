import Models
import RLAlgorithms
import Torch
import Training

// What the trainers need of the command line.
extension TrainConfiguration {
  /// - Parameter rolloutCount: rollouts of the whole run, which the learning rate decays over.
  package func trainingOptions(rolloutCount: Int) throws -> TrainingOptions {
    let steps = max((rolloutCount - critic.onlySteps) * resolvedStepsPerRollout, 1)
    var options = try TrainingOptions(
      schedule: optimizer.schedule(totalSteps: steps), globalBatchSize: resolvedGlobalBatchSize, batching: backend.batching)
    options.loss = isSupervised ? .supervised : .policy
    options.policy.estimator = algorithm.advantageEstimator
    options.policy.clipLow = algorithm.clip
    options.policy.clipHigh = algorithm.clipHigh ?? algorithm.clip
    options.policy.clipDual = algorithm.clipDual
    options.normalization = algorithm.perTokenLoss ? .perToken : .perRollout
    options.temperature = isSupervised ? 1 : rollout.temperature
    options.klCoefficient = Float(algorithm.klCoefficient)
    options.klLossCoefficient = algorithm.useKLLoss ? algorithm.klLossCoefficient : nil
    options.klEstimator = algorithm.klLossType
    options.referenceUpdateInterval = algorithm.referenceUpdateInterval
    options.keepsOldActor = algorithm.keepsOldActor
    options.distillationCoefficient = distillation.isOn ? Float(distillation.coefficient) : nil
    options.entropyCoefficient = algorithm.entropyCoefficient
    options.discount = Float(algorithm.gamma)
    (options.lambda, options.valueClip) = (Float(critic.lambda), critic.valueClip)
    options.normalizesAdvantages = algorithm.normalizeAdvantages
    options.computesAdvantages = algorithm.computesAdvantages
    options.usesRolloutLogProbs = algorithm.useRolloutLogProbs
    if algorithm.useTIS { options.importanceBounds = .init(low: algorithm.tisClipLow, high: algorithm.tisClip) }
    options.predictionCoefficient = algorithm.trainsPredictionLayers ? algorithm.predictionLossScale : nil
    options.clipGradient = optimizer.clipGradient
    options.optimizer = AdamW.Options(
      beta1: optimizer.beta1, beta2: optimizer.beta2, epsilon: optimizer.epsilon, weightDecay: optimizer.weightDecay)
    options.precision = try optimizer.precision(backend.resolvedDType)
    options.balancesData = backend.balanceData || backend.balanceByFLOPs
    options.attention = backend.resolvedAttention
    options.isDeterministic = backend.isDeterministic
    options.fsdp.offloadsToHost = backend.fsdp.offloadsToHost
    (options.modelProvider, options.contextLength) = (checkpoint.modelProvider, engine.contextLength)
    options.computeType = backend.resolvedDType.tensorType
    options.gradientCheckpointing = backend.gradientCheckpointing
    options.megatron = backend.parallel.megatronOptions
    options.megatron.offloadsOptimizer = optimizer.offloadsToHost
    options.routerLosses = backend.parallel.routerLosses
    options.routingReplay = backend.parallel.rolloutRoutingReplay ? .rollout : backend.parallel.routingReplay ? .training : nil
    options.sequenceFormat = backend.parallel.sequenceFormat
    return options
  }
}

extension TrainConfiguration {
  /// A model of `--hf-checkpoint` as the actor trains it.
  /// - Throws: `ConfigurationError` where it has no layers that could be trained as the flags ask.
  func trained(_ model: ModelConfiguration) throws(ConfigurationError) -> ModelConfiguration {
    guard algorithm.trainsPredictionLayers else { return model }
    guard data.multimodalKeys == nil else {
      throw ConfigurationError(
        "--enable-mtp-training is not supported with --multimodal-keys: these layers read tokens, not what is seen in the places "
          + "of pictures; leave one of them out")
    }
    do { return try model.withPredictionLayers() } catch {
      throw ConfigurationError("--enable-mtp-training has nothing to train: \(error); leave it out")
    }
  }
}

extension BackendConfiguration {
  var batching: MicroBatching {
    if useDynamicBatchSize, let maxTokensPerGPU {
      return balanceByFLOPs
        ? .balanced(maxTokensPerDevice: maxTokensPerGPU) : .dynamic(maxTokensPerDevice: maxTokensPerGPU)
    }
    return .fixed(microBatchSize: microBatchSize)
  }
}

extension ComputeDType {
  public var tensorType: DType {
    switch self {
    case .float32: .float32
    case .bfloat16: .bfloat16
    case .float16: .float16
    }
  }
}

extension OptimizerConfiguration {
  func schedule(totalSteps: Int) throws -> LearningRateSchedule {
    let decaySteps = Double(decaySteps ?? totalSteps)
    let warmup = warmupFraction.map { $0 * decaySteps } ?? Double(warmupSteps)
    return try LearningRateSchedule(
      initial: warmupInit, peak: learningRate, minimum: minLearningRate, warmupSteps: warmup,
      decaySteps: max(decaySteps, warmup + 1), decay: decay(decaySteps: decaySteps))
  }

  private func decay(decaySteps: Double) -> LearningRateDecay {
    switch decayStyle {
    case .constant: .constant
    case .linear: .linear
    case .cosine: .cosine
    case .inverseSquareRoot: .inverseSquareRoot
    case .warmupStableDecay: .warmupStableDecay(steps: Double(wsdDecaySteps ?? Int(decaySteps)), style: annealing)
    }
  }

  private var annealing: LearningRateDecay.AnnealingStyle {
    switch wsdDecayStyle {
    case .linear: .linear
    case .cosine: .cosine
    case .exponential: .exponential
    case .minusSquareRoot: .minusSquareRoot
    }
  }
}
