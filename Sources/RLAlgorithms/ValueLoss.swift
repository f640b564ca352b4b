import Torch

/// A critic's loss and what is reported of it, one a token.
public struct ValueLoss {
  public let loss: Tensor
  public let clipFraction: Tensor
}

/// Losses of a critic's values: the squared error, or that of the value kept near the old one where it is larger
/// (Schulman et al., "Proximal Policy Optimization", as its authors' code has it). No ½ stands before the square.
///
/// - Parameters:
///   - values: `[T]`, differentiable. `old`: those before the first step.
///   - clip: how far a value may go from the old one.
public func valueLoss(_ values: Tensor, old: Tensor, returns: Tensor, clip: Double) -> ValueLoss {
  let plain = (values - returns).square()
  let bounded = (old + (values - old).clamped(-clip, max: clip) - returns).square()
  return ValueLoss(loss: plain.maximum(bounded), clipFraction: bounded.gt(plain).to(dtype: .float32))
}
