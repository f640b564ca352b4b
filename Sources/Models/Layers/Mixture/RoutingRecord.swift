import Parallelism
import Torch

/// The experts that the tokens of a micro-batch go to, layer by layer (routing replay).
///
/// A layer that runs with a record for the first time notes its choice; when it runs again (in another pass over the same
/// tokens, or recomputed in the backward pass) it does as noted, and only computes the weights of those experts anew. A
/// record holds the tokens that the rank's routers see: all of its tokens, or its part of them with sequence parallelism.
public final class RoutingRecord {
  /// `[T, expertsPerToken]`, int32.
  private var noted: [Int: Tensor] = [:]
  /// `[T, layers, expertsPerToken]`
  private let given: Tensor?

  /// An empty record: the next pass chooses.
  public init() { given = nil }

  /// Experts that were chosen elsewhere (by the rollout engine, say).
  /// - Parameter experts: `[T, layers, expertsPerToken]`, integers below the number of experts, for all tokens of this
  ///   context-parallel rank (padding too) and all layers of the model; those of dense layers do not matter.
  public init(_ experts: Tensor, parallel: ParallelContext) { given = parallel.routedPart(experts) }

  /// What a layer has to do or has done. `[T, expertsPerToken]`, integers; nil: it may choose.
  public func experts(layer: Int) -> Tensor? { given?.select(1, index: layer) ?? noted[layer] }

  func note(_ experts: Tensor, layer: Int) { noted[layer] = experts.to(dtype: .int32) }

  /// All that has been noted: `[T, layers, expertsPerToken]`, int32, zeros for layers that did not choose here.
  /// - Parameter layerCount: of the whole model.
  public func stacked(layerCount: Int) -> Tensor? {
    if let given { return given.to(dtype: .int32) }
    guard let any = noted.values.first else { return nil }
    return Tensor.stack((0..<layerCount).map { noted[$0] ?? any.zerosLike() }, dim: 1)
  }
}

extension ParallelContext {
  /// The rows of this rank's routers, of something that has a row for each token of the context-parallel rank.
  package func routedPart(_ rows: Tensor) -> Tensor { sequenceParallel ? rows.ownPart(of: tensor) : rows }
}
