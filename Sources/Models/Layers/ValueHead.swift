import Parallelism
import Torch

/// A critic's head: one value a token, computed in fp32, where a language model has its output layer.
///
/// Its weights have names of their own, so that they never stand for the vocabulary's.
public struct ValueHead {
  private static let path = "value_head"
  private let weight: Parameter
  private let bias: Parameter
  private let parallel: ParallelContext

  /// - Parameter root: the model's root scope.
  init(_ root: ParameterScope, hiddenSize: Int, initializer: Initializer, parallel: ParallelContext) {
    let scope = root(Self.path)
    weight = scope.parameter(
      "weight", shape: [1, hiddenSize], initializer: initializer, sharing: parallel.sequenceSharing)
    bias = scope.parameter("bias", shape: [1], initializer: .constant(0), sharing: parallel.sequenceSharing)
    self.parallel = parallel
  }

  /// `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`) → `[T]`, fp32, on every tensor-parallel rank.
  func callAsFunction(_ hidden: Tensor) -> Tensor {
    let own = parallel.linear(
      hidden.to(dtype: .float32), weight.tensor.to(dtype: .float32), bias: bias.tensor.to(dtype: .float32)).squeeze(1)
    return parallel.sequenceParallel ? own.gatheredForAll(parallel.tensor) : own
  }

  /// Whether a weight is the head's, which checkpoints of language models do not have.
  public static func holds(_ name: String) -> Bool { name.hasPrefix(path + ".") }
}

/// What a model's head says of response tokens, each fp32 `[T]`.
public enum HeadOutput {
  case vocabulary(TokenStatistics)
  case value(Tensor)

  /// Log-probabilities, or values.
  public var perToken: Tensor {
    switch self {
    case .vocabulary(let statistics): statistics.logProbs
    case .value(let values): values
    }
  }
}
