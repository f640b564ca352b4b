import Parallelism
import Torch

/// A decoder-only language model: the one definition that both training backends and the engine run.
///
/// Its weights start without memory; `table` is the list of them, in an order that is the same on every rank.
public final class CausalLM {
  public let configuration: ModelConfiguration
  public let table: ParameterTable
  public let tensorGroup: ProcessGroup
  let embedding: VocabularyParallelEmbedding
  let layers: [DecoderLayer]
  let finalNorm: RMSNorm
  /// nil when it is the embedding's.
  let headWeight: Parameter?
  private let rotary: RotaryEmbedding

  /// - Throws: `ModelError` when the tensor-parallel size does not divide what is split.
  public init(_ configuration: ModelConfiguration, tensorGroup: ProcessGroup, dtype: DType) throws {
    try Self.check(configuration, tensorParallelSize: tensorGroup.size)
    (self.configuration, self.tensorGroup) = (configuration, tensorGroup)
    table = ParameterTable(dtype: dtype)
    let root = ParameterScope(table)
    let model = root("model")
    let initializer = Initializer.normal(standardDeviation: configuration.initializerRange)
    embedding = VocabularyParallelEmbedding(
      model("embed_tokens"), vocabularySize: configuration.vocabularySize, hiddenSize: configuration.hiddenSize,
      initializer: initializer, group: tensorGroup)
    layers = (0..<configuration.layerCount).map { index in
      DecoderLayer(model("layers")(index), configuration, layer: index, group: tensorGroup)
    }
    finalNorm = RMSNorm(model("norm"), size: configuration.hiddenSize, epsilon: configuration.normEpsilon)
    let slice = tensorGroup.size > 1
      ? ParameterPiece.Slice(dimension: 0, index: tensorGroup.rank, count: tensorGroup.size) : nil
    headWeight = configuration.tiesEmbeddings
      ? nil
      : root("lm_head").parameter(
        "weight", shape: [configuration.vocabularySize, configuration.hiddenSize], slice: slice, initializer: initializer)
    rotary = RotaryEmbedding(configuration.rotary, headDimension: configuration.headDimension)
  }

  private static func check(_ configuration: ModelConfiguration, tensorParallelSize size: Int) throws {
    for (name, value) in [
      ("num_attention_heads", configuration.headCount), ("intermediate_size", configuration.intermediateSize),
      ("vocab_size", configuration.vocabularySize),
    ] where value % size != 0 {
      throw ModelError("--tensor-model-parallel-size \(size) does not divide \(name) \(value); choose one that does")
    }
    let keyValueHeads = configuration.keyValueHeadCount
    guard keyValueHeads % size == 0 || size % keyValueHeads == 0 else {
      throw ModelError(
        "--tensor-model-parallel-size \(size) neither divides num_key_value_heads \(keyValueHeads) nor is a multiple of it")
    }
  }

  /// `[T]` tokens → `[T, hiddenSize]` hidden states after the final norm.
  public func hidden(_ tokens: Tensor, _ context: ForwardContext) -> Tensor {
    var hidden = embedding(tokens)
    let table = rotary.table(positions: context.positions, dtype: hidden.dtype)
    for (index, layer) in layers.enumerated() {
      hidden = context.runner.run(block: index, input: hidden) { layer($0, rotary: table, context: context) }
    }
    return finalNorm(hidden)
  }

  /// `[T, hiddenSize]` → logits of this rank's part of the vocabulary.
  public func logits(_ hidden: Tensor) -> Tensor {
    hidden.enteringTensorParallel(tensorGroup).linear((headWeight ?? embedding.weight).tensor)
  }

  /// The parameters of each block and those outside, in the table's order.
  public var parametersByBlock: (root: [Parameter], blocks: [[Parameter]]) {
    var root: [Parameter] = []
    var blocks = Array(repeating: [Parameter](), count: layers.count)
    let prefix = "model.layers."
    for parameter in table.parameters {
      if parameter.name.hasPrefix(prefix), let index = Int(parameter.name.dropFirst(prefix.count).prefix { $0 != "." }) {
        blocks[index].append(parameter)
      } else {
        root.append(parameter)
      }
    }
    return (root, blocks)
  }
}
