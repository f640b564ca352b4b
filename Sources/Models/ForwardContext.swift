import Parallelism
import Torch

/// How query, key and value become the attention's output: packed sequences in training, pages in the engine.
public protocol AttentionBackend: AnyObject {
  /// - Parameters:
  ///   - query: `[T, heads, headDimension]`, rotated.
  ///   - key: `[T, keyValueHeads, headDimension]`, rotated; `value` likewise.
  /// - Returns: `[T, heads, headDimension]`.
  func attend(query: Tensor, key: Tensor, value: Tensor, layer: Int) -> Tensor
}

/// What one forward pass is given besides the tokens.
public struct ForwardContext {
  /// Position of each token in its sequence. `[T]`, int64
  public let positions: Tensor
  public let attention: any AttentionBackend
  public let runner: any BlockRunner

  public init(positions: Tensor, attention: any AttentionBackend, runner: any BlockRunner = PlainRunner()) {
    (self.positions, self.attention, self.runner) = (positions, attention, runner)
  }
}
