import Checkpoints
import JSON
import Parallelism
import Torch

/// A draft head of EAGLE-3 (Li et al., "EAGLE-3: Scaling up Inference Acceleration of Large Language Models via Training-Time
/// Test", 2025): features are made of the inputs of three layers of the model, and predictions are over the more frequent
/// tokens. The embedding is the model's; a checkpoint may hold a copy of it, which is left aside.
public final class Eagle3Head: DraftHead {
  public let configuration: ModelConfiguration
  public var table: ParameterTable? { parameters }
  private let parameters: ParameterTable
  public let firstLayer = 0
  public let layerInputs: [Int]
  private let model: CausalLM
  private let projection: ReplicatedLinear
  private let layer: Eagle3Layer
  private let norm: RMSNorm
  private let headWeight: Parameter
  /// The tokens that are predicted. `[predictions]`, int64
  private let tokens: Tensor
  private let rotary: RotaryEmbedding

  /// Loads this rank's part.
  /// - Throws: what is wrong with the folder, or that it was made for another model.
  public init(_ folder: HuggingFaceFolder, on model: CausalLM, dtype: DType) throws {
    configuration = try ModelRegistry.configuration(of: folder)
    self.model = model
    let path = folder.url.path
    let files = HeadFiles(try folder.weights())
    guard configuration.modelType == "llama", configuration.layerCount == 1, files.contains("midlayer.hidden_norm.weight")
    else { throw ModelError("\(path) is no draft head of EAGLE3, which is one Llama layer named midlayer") }
    try configuration.requireShapes(of: model.configuration, path)
    layerInputs = try Self.layerInputs(folder, layerCount: model.configuration.layerCount)
    let (size, parallel) = (configuration.hiddenSize, model.parallel)
    let predictions = folder.config["draft_vocab_size"]?.int ?? configuration.vocabularySize
    parameters = ParameterTable(dtype: dtype)
    let root = ParameterScope(parameters)
    let initializer = Initializer.normal(standardDeviation: configuration.initializerRange)
    projection = ReplicatedLinear(
      root("fc"), inputSize: layerInputs.count * size, outputSize: size, bias: files.contains("fc.bias"),
      initializer: initializer, parallel: parallel)
    layer = Eagle3Layer(root("midlayer"), configuration, parallel)
    norm = RMSNorm(root("norm"), size: size, epsilon: configuration.normEpsilon, sharing: parallel.sequenceSharing)
    headWeight = root("lm_head").parameter(
      "weight", shape: [predictions, size], slice: parallel.tensorSlice(dimension: 0), initializer: initializer)
    rotary = try RotaryEmbedding(configuration.rotary, dimensions: configuration.headDimension)
    var places = Tensor.arange(predictions)
    if predictions != configuration.vocabularySize || files.contains("d2t") {
      // What is stored is by how much the token's id is higher than its place.
      places = places + (try files.tensor("d2t")).to(dtype: .int64)
      guard places.shape == [predictions], places.max().intItem() < configuration.vocabularySize, places.min().intItem() >= 0
      else { throw ModelError("\(path) holds a tensor 'd2t' that names no \(predictions) tokens of the vocabulary") }
    }
    tokens = places.to(device: parallel.device)
    try files.load(parameters, dtype: dtype, device: parallel.device, leavingAside: ["embed_tokens.weight", "d2t", "t2d"], path)
  }

  /// Those that config.json names by the layers before them, or SGLang's choice.
  private static func layerInputs(_ folder: HuggingFaceFolder, layerCount: Int) throws -> [Int] {
    let named = folder.config["eagle_config"]?["eagle_aux_hidden_state_layer_ids"]?.array
    let layers = try named.map { ids in
      try ids.map { id in
        guard let id = id.int else {
          throw ModelError("\(folder.configFile.path) has eagle_aux_hidden_state_layer_ids that are no numbers")
        }
        return id + 1
      }
    } ?? [2, layerCount / 2, layerCount - 3]
    if let layer = layers.first(where: { $0 < 0 || $0 >= layerCount }) {
      throw ModelError(
        "the draft head in \(folder.url.path) reads the input of layer \(layer), and the model has layers 0 to "
          + "\(layerCount - 1); choose the model's own head")
    }
    return layers
  }

  public func features(_ output: Tensor, layerInputs: [Tensor]) -> Tensor { projection(Tensor.cat(layerInputs, dim: 1)) }

  public func hidden(_ tokens: Tensor, features: Tensor, _ context: ForwardContext) -> Tensor {
    let embedding = model.embed(tokens)
    return layer(
      embedding, features, rotary: rotary.table(positions: context.positions, dtype: embedding.dtype), context: context)
  }

  public func logits(_ hidden: Tensor) -> Tensor { norm(hidden).linear(headWeight.tensor) }

  public var predictionCount: Int { headWeight.pieces[0].shape[0] }

  public func overVocabulary(_ logits: Tensor) -> Tensor {
    Tensor.full([logits.size(0), configuration.vocabularySize], -Double.infinity, dtype: .float32, device: logits.device)
      .indexCopy_(1, index: tokens, source: logits.to(dtype: .float32))
  }
}

/// Attention over embedding and feature side by side, added to the feature.
private struct Eagle3Layer {
  private let embeddingNorm: RMSNorm
  private let featureNorm: RMSNorm
  private let attention: Attention
  private let postAttentionNorm: RMSNorm
  private let feedForward: GatedFeedForward

  init(_ scope: ParameterScope, _ configuration: ModelConfiguration, _ parallel: ParallelContext) {
    func norm(_ name: String) -> RMSNorm {
      RMSNorm(
        scope(name), size: configuration.hiddenSize, epsilon: configuration.normEpsilon, sharing: parallel.sequenceSharing)
    }
    (embeddingNorm, featureNorm) = (norm("input_layernorm"), norm("hidden_norm"))
    attention = Attention(
      scope("self_attn"), configuration, layer: 0, inputSize: 2 * configuration.hiddenSize, parallel: parallel)
    postAttentionNorm = norm("post_attention_layernorm")
    feedForward = GatedFeedForward(scope("mlp"), configuration, parallel: parallel)
  }

  func callAsFunction(
    _ embedding: Tensor, _ feature: Tensor, rotary: RotaryTable, context: ForwardContext
  ) -> Tensor {
    let both = Tensor.cat([embeddingNorm(embedding), featureNorm(feature)], dim: 1)
    let middle = feature + attention(both, rotary: rotary, context: context)
    return middle + feedForward(postAttentionNorm(middle), context: context)
  }
}
