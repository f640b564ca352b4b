import Torch

/// Collects what some layers of a forward pass are given. `[T, hiddenSize]` each
public final class LayerInputs {
  private let layers: [Int]
  private var noted: [Int: Tensor] = [:]

  /// - Parameter layers: in any order, also several times.
  public init(_ layers: [Int]) { self.layers = layers }

  func note(_ input: Tensor, layer: Int) {
    if layers.contains(layer) { noted[layer] = input }
  }

  /// One for each of the layers asked for, after a pass through them.
  public var tensors: [Tensor] { layers.map { noted[$0]! } }
}
