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

  /// How the checkpoint has its e4m3 tensors, by name: matrices of linear layers, by themselves or with others above and below.
  public func storedScalings() throws -> [String: Float8Scaling] {
    guard let scheme = storedQuantization else { return [:] }
    var (linear, own) = (self, self)
    (linear.quantization, own.quantization) = (Float8Scheme(scheme.scaling), scheme)
    var scalings: [String: Float8Scaling] = [:]
    for parameter in try linear.model(parallel: .single(), dtype: .float32).table.parameters where parameter.quantization != nil {
      for piece in parameter.pieces {
        let part = storedPart(piece)
        guard part.shape.count == 2, let scaling = own.scaling(of: piece), Float8Place(part)?.knows(scaling) == true else { continue }
        scalings[part.name] = scaling
      }
    }
    return scalings
  }
}
