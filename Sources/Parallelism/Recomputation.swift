import Torch

/// Which activations are computed again in the backward pass instead of being kept (Megatron's `--recompute-…`).
public enum Recomputation: Sendable, Equatable, Codable {
  case none
  /// Attention's core alone is computed again (Korthikanti et al., 2022).
  case selective
  /// Layers in groups of this many; what goes into each group is kept.
  case uniform(layers: Int)
  /// The first so many layers of each stage, one by one; the others keep their activations.
  case block(layers: Int)
}
