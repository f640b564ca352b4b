import Torch

extension ModelConfiguration {
  /// How a linear weight is kept as e4m3; nil: as plain numbers. What is excluded may be named as any checkpoint has it.
  func scaling(of piece: ParameterPiece) -> Float8Scaling? {
    guard let quantization else { return nil }
    let stored = storedParts(piece.checkpointName, piece.shape).map { ParameterPiece($0.name, shape: $0.shape).module }
    return Set(stored + [piece.module]).allSatisfy(quantization.applies) ? quantization.scaling : nil
  }

  /// Where a checkpoint with e4m3 keeps a weight by itself, with scales of its own; nil: it never does.
  func storedAlone(_ piece: ParameterPiece) -> StoredPart? {
    storedParts(piece.checkpointName, piece.shape).first { $0.steps.isEmpty }
  }

  /// How a weight is saved, or, where it is kept as e4m3, what stands for it: it is a tensor of its own then.
  package func storedPart(_ piece: ParameterPiece, of parameter: Parameter) -> StoredPart {
    guard parameter.quantization != nil else { return storedPart(piece) }
    return storedAlone(piece) ?? StoredPart(piece.checkpointName, piece.shape)
  }
}
