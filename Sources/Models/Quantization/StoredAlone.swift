import Torch

extension ModelConfiguration {
  /// Weights that are kept as e4m3 must be tensors of their own in checkpoints, which have scales beside each.
  /// - Throws: `ModelError` about the first that is not.
  func requireStoredAlone(_ table: ParameterTable) throws {
    for parameter in table.parameters where parameter.quantization != nil {
      for piece in parameter.pieces where !storedPart(piece).steps.isEmpty {
        throw ModelError(
          "\(piece.checkpointName) cannot be kept in FP8: a model of type \(modelType) stores it as a part of "
            + "\(storedPart(piece).name); use --quantization unquant")
      }
    }
  }
}
