/// Floating-point operations of a forward pass over one sequence: what equal work between ranks is measured by.
public struct ForwardCost: Sendable, Equatable, Codable {
  public var layers: Int
  /// Those of them whose tokens look at all before them.
  public var attentionLayers: Int
  public var hiddenSize: Int
  /// Heads × head dimension of the queries, and of the keys (or values).
  public var queryDimension: Int
  public var keyValueDimension: Int
  /// Width of the gated MLP; for experts, their width × experts per token, shared ones included.
  public var intermediateSize: Int
  public var vocabularySize: Int

  public init(
    layers: Int, attentionLayers: Int? = nil, hiddenSize: Int, queryDimension: Int, keyValueDimension: Int,
    intermediateSize: Int, vocabularySize: Int
  ) {
    (self.layers, self.attentionLayers, self.hiddenSize) = (layers, attentionLayers ?? layers, hiddenSize)
    (self.queryDimension, self.keyValueDimension) = (queryDimension, keyValueDimension)
    (self.intermediateSize, self.vocabularySize) = (intermediateSize, vocabularySize)
  }

  /// A multiply-add counts as two operations; causal attention computes half of the square.
  public func operations(tokens: Int) -> Double {
    let (s, h, q) = (Double(tokens), Double(hiddenSize), Double(queryDimension))
    let projections = 2 * s * h * (q + 2 * Double(keyValueDimension)) + 2 * s * h * q
    let attention = 2 * s * s * q
    let mlp = 6 * s * h * Double(intermediateSize)
    return Double(layers) * (projections + mlp) + Double(attentionLayers) * attention + 2 * s * h * Double(vocabularySize)
  }
}
