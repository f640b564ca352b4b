/// The flat, ordered table of a model's weights. Its order is the same on every rank.
public final class ParameterTable {
  public private(set) var parameters: [Parameter] = []
  /// Of the learned weights.
  public let dtype: DType
  private let scaling: (ParameterPiece) -> Float8Scaling?

  /// - Parameter scaling: how a linear weight is kept as e4m3; nil: as plain numbers.
  public init(dtype: DType = .float32, scaling: @escaping (ParameterPiece) -> Float8Scaling? = { _ in nil }) {
    (self.dtype, self.scaling) = (dtype, scaling)
  }

  /// How a linear weight made of these pieces is kept: as e4m3 where all of them are.
  fileprivate func scaling(_ pieces: [ParameterPiece]) -> Float8Scaling? {
    guard let first = pieces.first.flatMap(scaling) else { return nil }
    return pieces.dropFirst().allSatisfy { scaling($0) != nil } ? first : nil
  }

  fileprivate func add(_ parameter: Parameter) {
    precondition(!parameters.contains { $0.name == parameter.name }, "two parameters named \(parameter.name)")
    parameters.append(parameter)
  }

  public subscript(name: String) -> Parameter? { parameters.first { $0.name == name } }

  /// The matrices of linear layers, those of experts aside.
  package var linearWeights: [Parameter] { parameters.filter(\.takesLowRankTerms) }
}

/// A place in the model's tree while layers are built: `Linear(scope("q_proj"), …)` registers `….q_proj.weight`.
public struct ParameterScope {
  public let table: ParameterTable
  public let path: String

  public init(_ table: ParameterTable, path: String = "") { (self.table, self.path) = (table, path) }

  public func callAsFunction(_ name: String) -> ParameterScope {
    ParameterScope(table, path: path.isEmpty ? name : path + "." + name)
  }

  public func callAsFunction(_ index: Int) -> ParameterScope { self(String(index)) }

  /// The name of something in this place.
  public func name(_ name: String) -> String { self(name).path }

  /// Registers a weight made of `pieces`.
  /// - Parameters:
  ///   - isLearned: false: a constant of the checkpoint, kept in fp32.
  ///   - isLinear: whether it is the matrix of a linear layer that can multiply e4m3.
  public func parameter(
    _ name: String, pieces: [ParameterPiece], initializer: Initializer, sharing: WeightSharing = WeightSharing(),
    isLearned: Bool = true, isLinear: Bool = false
  ) -> Parameter {
    let parameter = Parameter(
      name: self.name(name), pieces: pieces, initializer: initializer, sharing: sharing, isLearned: isLearned,
      dtype: isLearned ? table.dtype : .float32, quantization: isLinear ? table.scaling(pieces) : nil)
    table.add(parameter)
    return parameter
  }

  /// Registers a weight that a checkpoint holds under its own name.
  public func parameter(
    _ name: String, shape: [Int], slice: ParameterPiece.Slice? = nil, initializer: Initializer,
    sharing: WeightSharing = WeightSharing(), isLearned: Bool = true, isLinear: Bool = false
  ) -> Parameter {
    parameter(
      name, pieces: [ParameterPiece(self.name(name), shape: shape, slice: slice)], initializer: initializer,
      sharing: sharing, isLearned: isLearned, isLinear: isLinear)
  }
}
