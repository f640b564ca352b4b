/// The flat, ordered table of a model's weights. Its order is the same on every rank.
public final class ParameterTable {
  public private(set) var parameters: [Parameter] = []
  /// Tensors that belong to the model but are not learned, by name.
  public private(set) var buffers: [(name: String, tensor: Tensor)] = []
  /// Of the weights.
  public let dtype: DType

  public init(dtype: DType = .float32) { self.dtype = dtype }

  fileprivate func add(_ parameter: Parameter) {
    precondition(!parameters.contains { $0.name == parameter.name }, "two parameters named \(parameter.name)")
    parameters.append(parameter)
  }

  fileprivate func addBuffer(_ name: String, _ tensor: Tensor) { buffers.append((name, tensor)) }

  public subscript(name: String) -> Parameter? { parameters.first { $0.name == name } }
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
  public func parameter(
    _ name: String, pieces: [ParameterPiece], initializer: Initializer, sharing: WeightSharing = WeightSharing()
  ) -> Parameter {
    let parameter = Parameter(
      name: self.name(name), pieces: pieces, initializer: initializer, sharing: sharing, dtype: table.dtype)
    table.add(parameter)
    return parameter
  }

  /// Registers a weight that a checkpoint holds under its own name.
  public func parameter(
    _ name: String, shape: [Int], slice: ParameterPiece.Slice? = nil, initializer: Initializer,
    sharing: WeightSharing = WeightSharing()
  ) -> Parameter {
    parameter(
      name, pieces: [ParameterPiece(self.name(name), shape: shape, slice: slice)], initializer: initializer,
      sharing: sharing)
  }

  public func buffer(_ name: String, _ tensor: Tensor) { table.addBuffer(self.name(name), tensor) }
}
