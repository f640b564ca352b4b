import Foundation

/// The shape of the learning rate after warmup. Names are those of Megatron's `--lr-decay-style`.
public enum LearningRateDecay: Sendable, Equatable, Codable {
  case constant
  case linear
  case cosine
  case inverseSquareRoot
  /// Warmup, stable, decay: the peak is held until `steps` before the end, then annealed.
  case warmupStableDecay(steps: Double, style: AnnealingStyle)

  public enum AnnealingStyle: String, Sendable, CaseIterable, Codable {
    case linear, cosine, exponential
    case minusSquareRoot = "minus_sqrt"
  }
}

/// The learning rate of every optimizer step: linear warmup, then a decay. Same values as Megatron's
/// `OptimizerParamScheduler`. Steps may be counted in any unit (iterations, samples) so long as it is one and the same.
public struct LearningRateSchedule: Sendable, Equatable, Codable {
  /// Where warmup starts.
  public let initial: Double
  /// Where warmup ends.
  public let peak: Double
  /// What decay ends at.
  public let minimum: Double
  public let warmupSteps: Double
  /// The step at which decay ends, counted from the beginning of training.
  public let decaySteps: Double
  public let decay: LearningRateDecay

  /// - Throws: `ScheduleError` when the numbers contradict each other.
  public init(
    initial: Double = 0, peak: Double, minimum: Double = 0, warmupSteps: Double = 0, decaySteps: Double,
    decay: LearningRateDecay = .constant
  ) throws(ScheduleError) {
    guard peak >= 0, minimum >= 0, initial >= 0 else {
      throw ScheduleError("learning rates must not be negative: lr \(peak), min-lr \(minimum), lr-warmup-init \(initial)")
    }
    guard minimum <= peak else { throw ScheduleError("min-lr \(minimum) is above lr \(peak); lower --min-lr") }
    guard initial <= peak else {
      throw ScheduleError("lr-warmup-init \(initial) is above lr \(peak); lower --lr-warmup-init")
    }
    guard decaySteps > 0 else { throw ScheduleError("lr-decay-iters must be positive, not \(decaySteps)") }
    guard warmupSteps >= 0, warmupSteps < decaySteps else {
      throw ScheduleError(
        "learning rate warmup takes \(warmupSteps) steps but decay ends at step \(decaySteps); "
          + "shorten the warmup or raise --lr-decay-iters")
    }
    if case .warmupStableDecay(let steps, _) = decay, !(steps > 0 && steps <= decaySteps) {
      throw ScheduleError("lr-wsd-decay-iters must be above 0 and at most lr-decay-iters \(decaySteps), not \(steps)")
    }
    (self.initial, self.peak, self.minimum) = (initial, peak, minimum)
    (self.warmupSteps, self.decaySteps, self.decay) = (warmupSteps, decaySteps, decay)
  }

  /// The rate used by the optimizer step that follows `step` finished ones.
  public func rate(at step: Double) -> Double {
    if warmupSteps > 0, step <= warmupSteps { return initial + (peak - initial) * step / warmupSteps }
    if decay == .constant { return peak }
    if step > decaySteps { return minimum }
    if decay == .inverseSquareRoot {
      return max(minimum, peak * max(warmupSteps, 1).squareRoot() / max(step, 1).squareRoot())
    }
    return minimum + (peak - minimum) * fraction(at: step)
  }

  /// How far between minimum (0) and peak (1), after warmup and before the end of decay.
  private func fraction(at step: Double) -> Double {
    let progress = (step - warmupSteps) / (decaySteps - warmupSteps)
    switch decay {
    case .constant, .inverseSquareRoot: return 1
    case .linear: return 1 - progress
    case .cosine: return (cos(.pi * progress) + 1) / 2
    case .warmupStableDecay(let steps, let style):
      let annealed = (step - (decaySteps - steps)) / steps
      guard annealed > 0 else { return 1 }
      switch style {
      case .linear: return 1 - annealed
      case .cosine: return (cos(.pi * annealed) + 1) / 2
      case .exponential: return 2 * pow(0.5, annealed) - 1
      case .minusSquareRoot: return 1 - annealed.squareRoot()
      }
    }
  }
}
