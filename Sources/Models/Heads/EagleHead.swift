import Checkpoints
import Parallelism
import Torch

/// A draft head of EAGLE (Li et al., "EAGLE: Speculative Sampling Requires Rethinking Feature Uncertainty", 2024): a linear
/// map of embedding and feature side by side, and a Llama layer without a norm before it or after it. Embedding and output
/// layer are the model's; a checkpoint may hold copies of them, which are left aside.
public final class EagleHead: DraftHead {
  public let configuration: ModelConfiguration
  public var table: ParameterTable? { parameters }
  private let parameters: ParameterTable
  public let firstLayer = 0
  private let model: CausalLM
  private let projection: ReplicatedLinear
  private let layers: [EagleLayer]
  private let rotary: RotaryEmbedding

  /// Loads this rank's part.
  /// - Throws: what is wrong with the folder, or that it was made for another model.
  public init(_ folder: HuggingFaceFolder, on model: CausalLM, dtype: DType) throws {
    configuration = try ModelRegistry.configuration(of: folder)
    self.model = model
    let path = folder.url.path
    let files = HeadFiles(try folder.weights())
    guard configuration.modelType == "llama", files.contains("fc.weight"), !files.contains("midlayer.hidden_norm.weight")
    else { throw ModelError("\(path) is no draft head of EAGLE, which is a Llama layer and a linear map 'fc'") }
    try configuration.requireShapes(of: model.configuration, path)
    let parallel = model.parallel
    parameters = ParameterTable(dtype: dtype)
    let root = ParameterScope(parameters)
    projection = ReplicatedLinear(
      root("fc"), inputSize: 2 * configuration.hiddenSize, outputSize: configuration.hiddenSize,
      bias: files.contains("fc.bias"),
      initializer: .normal(standardDeviation: configuration.initializerRange), parallel: parallel)
    layers = (0..<configuration.layerCount).map { [configuration] in
      EagleLayer(root("layers")($0), configuration, $0, parallel)
    }
    rotary = try RotaryEmbedding(configuration.rotary, dimensions: configuration.headDimension)
    try files.load(
      parameters, dtype: dtype, device: parallel.device, leavingAside: ["embed_tokens.weight", "lm_head.weight"], path)
  }

  public func hidden(_ tokens: Tensor, features: Tensor, _ context: ForwardContext) -> Tensor {
    let input = projection(Tensor.cat([model.embed(tokens), features], dim: 1))
    let table = rotary.table(positions: context.positions, dtype: input.dtype)
    return layers.reduce(input) { $1($0, rotary: table, context: context) }
  }

  public func logits(_ hidden: Tensor) -> Tensor { model.logits(hidden) }
}

/// A decoder layer of which the first has no norm before its attention.
private struct EagleLayer: DecoderBlock {
  private let inputNorm: RMSNorm?
  private let attention: Attention
  private let postAttentionNorm: RMSNorm
  private let feedForward: GatedFeedForward

  init(_ scope: ParameterScope, _ configuration: ModelConfiguration, _ layer: Int, _ parallel: ParallelContext) {
    func norm(_ name: String) -> RMSNorm {
      RMSNorm(
        scope(name), size: configuration.hiddenSize, epsilon: configuration.normEpsilon, sharing: parallel.sequenceSharing)
    }
    inputNorm = layer == 0 ? nil : norm("input_layernorm")
    attention = Attention(scope("self_attn"), configuration, layer: layer, parallel: parallel)
    postAttentionNorm = norm("post_attention_layernorm")
    feedForward = GatedFeedForward(scope("mlp"), configuration, parallel: parallel)
  }

  func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    let middle = input + attention(inputNorm.map { $0(input) } ?? input, rotary: rotary, context: context)
    return middle + feedForward(postAttentionNorm(middle), context: context)
  }
}
