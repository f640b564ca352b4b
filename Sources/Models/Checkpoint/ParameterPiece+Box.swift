import Checkpoints
import Torch

extension ParameterPiece {
  /// The elements of the checkpoint tensor that are held here.
  public var box: TensorBox {
    var box = TensorBox(whole: shape)
    if let slice {
      let range = slice.range(of: shape[slice.dimension])
      (box.offsets[slice.dimension], box.sizes[slice.dimension]) = (range.lowerBound, range.count)
    }
    return box
  }
}
