import Torch

extension ParameterTable {
  /// Ranks that split a matrix by its inputs must each hold whole groups of numbers with one scale.
  /// - Throws: `ModelError` about the first weight where they do not.
  func requireWholeGroups() throws {
    for parameter in parameters {
      guard let groupSize = parameter.quantization?.groupSize else { continue }
      for piece in parameter.pieces where piece.slice?.dimension == 1 {
        let (range, inputs) = (piece.range(1), piece.shape[1])
        guard [range.lowerBound, range.upperBound].contains(where: { $0 % groupSize != 0 && $0 != inputs }) else { continue }
        throw ModelError(
          "\(piece.slice!.count) ranks cut the \(inputs) inputs of \(piece.checkpointName) inside of blocks of \(groupSize) "
            + "that share an FP8 scale; use fewer tensor-parallel ranks (for experts: more expert-parallel ones), or "
            + "--quantization unquant")
      }
    }
  }
}
