import Torch

/// A small model on top of another one that predicts the token after the next: from a feature of a token, which the model
/// computed, and the token that follows it. What it makes of them stands for the feature of that token in turn.
public protocol DraftHead {
  /// Of its decoder layers, for their KV cache.
  var configuration: ModelConfiguration { get }
  /// The number that the first of them gives to `AttentionBackend`.
  var firstLayer: Int { get }

  /// Its own weights; nil: they are the model's.
  var table: ParameterTable? { get }
  /// The layers of the model whose inputs features are made of; none: they are the output after the final norm.
  var layerInputs: [Int] { get }
  /// - Parameters:
  ///   - output: the model's, after its final norm. `[T, hiddenSize]`
  ///   - layerInputs: those asked for. `[T, hiddenSize]` each
  /// - Returns: `[T, hiddenSize]`
  func features(_ output: Tensor, layerInputs: [Tensor]) -> Tensor

  /// - Parameters:
  ///   - tokens: `[T]`, int64
  ///   - features: of the tokens before them, or what this function made of those. `[T, hiddenSize]`
  /// - Returns: `[T, hiddenSize]`
  func hidden(_ tokens: Tensor, features: Tensor, _ context: ForwardContext) -> Tensor

  /// Its output → logits of this rank's part of the tokens that it predicts. `[T, …]`
  func logits(_ hidden: Tensor) -> Tensor
  /// How many tokens it predicts.
  var predictionCount: Int { get }
  /// All ranks' logits → logits of the vocabulary. `[T, predictionCount]` → `[T, vocabulary]`
  func overVocabulary(_ logits: Tensor) -> Tensor
}

/// Of a head that reads the model's output and predicts all tokens.
extension DraftHead {
  public var layerInputs: [Int] { [] }
  public func features(_ output: Tensor, layerInputs: [Tensor]) -> Tensor { output }
  public var predictionCount: Int { configuration.vocabularySize }
  public func overVocabulary(_ logits: Tensor) -> Tensor { logits }
}

/// The model's own first prediction layer.
public struct PredictionHead: DraftHead {
  private let model: CausalLM

  /// - Returns: nil: the model was built without the layer.
  public init?(_ model: CausalLM) {
    guard !model.predictors.isEmpty else { return nil }
    self.model = model
  }

  public var configuration: ModelConfiguration {
    var own = model.configuration
    own.layerCount = 1
    return own
  }

  public var firstLayer: Int { model.configuration.layerCount }
  public var table: ParameterTable? { nil }
  public var layerInputs: [Int] { model.configuration.predictionInputs }
  public func features(_ output: Tensor, layerInputs: [Tensor]) -> Tensor { layerInputs.first ?? output }

  public func hidden(_ tokens: Tensor, features: Tensor, _ context: ForwardContext) -> Tensor {
    model.predicted(tokens, hidden: features, context)
  }

  public func logits(_ hidden: Tensor) -> Tensor { model.logits(hidden) }
}
