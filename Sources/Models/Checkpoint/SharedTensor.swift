import Torch

/// A tensor of checkpoints that holds several weights which a model keeps as e4m3, each by itself.
package struct SharedTensor {
  package let shape: [Int]
  package fileprivate(set) var members: [Member] = []

  /// One of the weights, by the name that stands for it where the model keeps it.
  package struct Member {
    package let name: String
    package let scaling: Float8Scaling
    fileprivate let shape: [Int]
    fileprivate let place: StoredPart

    /// `[rows, columns]`
    package func part(of whole: Tensor) -> Tensor { place.cells(of: whole).reshape(shape) }

    /// Of a tensor that is e4m3 itself; nil: with such scales it cannot be taken of it.
    package func matrix(_ values: Tensor, scales: Tensor, _ sent: Float8Scaling) -> Float8Matrix? {
      guard let place = Float8Place(place), place.knows(sent), place.keepsBlocks(sent) || scaling.groupSize == nil else { return nil }
      return place.matrix(values, scales: scales, sent)
    }
  }

  /// Those of a whole model, by name.
  package static func all(_ model: CausalLM) -> [String: SharedTensor] {
    var all: [String: SharedTensor] = [:]
    for parameter in model.table.parameters {
      guard let scaling = parameter.quantization else { continue }
      for piece in parameter.pieces {
        let name = model.configuration.storedPart(piece, of: parameter).name
        let places = model.configuration.storedParts(piece.checkpointName, piece.shape).filter { !$0.steps.isEmpty }
        // Of forms that have the same name the first is meant.
        var known = Set<String>()
        for place in places where known.insert(place.name).inserted {
          all[place.name, default: SharedTensor(shape: place.shape)].members.append(
            Member(name: name, scaling: scaling, shape: piece.shape, place: place))
        }
      }
    }
    return all
  }
}
