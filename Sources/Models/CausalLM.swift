import Images
import Parallelism
import Torch

/// A decoder-only language model, or one stage of it: the one definition that both training backends and the engine run.
///
/// Its weights start without memory; `table` is the list of them, in an order that is the same on every rank.
open class CausalLM {
  /// Makes the block of one layer, whose weights stand in `scope`.
  public typealias BlockBuilder = (
    _ scope: ParameterScope, _ configuration: ModelConfiguration, _ layer: Int, _ parallel: ParallelContext
  ) throws -> any DecoderBlock

  public let configuration: ModelConfiguration
  public let table: ParameterTable
  public let parallel: ParallelContext
  public let stage: ModelStage
  /// nil outside the first stage.
  let embedding: VocabularyParallelEmbedding?
  /// Of prediction layers in another stage than the first: what `embed` reads there.
  let furtherEmbedding: VocabularyParallelEmbedding?
  /// `[positions, hiddenSize]`; nil where positions are rotations.
  private let positionEmbedding: Parameter?
  /// nil outside the first stage, and where the model takes no pictures.
  private let vision: VisionTower?
  let layers: [any DecoderBlock]
  /// nil outside the last stage.
  let finalNorm: (any Norm)?
  /// nil outside the last stage and in a critic; the embedding's weight where it is shared in place.
  let headWeight: Parameter?
  /// nil outside the last stage, and where the head is the vocabulary's.
  private let valueHead: ValueHead?
  /// Empty outside the last stage, and where the configuration asks for none.
  let predictors: [PredictionLayer]
  let rotary: RotaryEmbedding
  /// Of layers with a window, where theirs is another.
  private let windowedRotary: RotaryEmbedding?

  /// - Parameters:
  ///   - stage: the part of the model that is built; nil: all of it.
  ///   - block: makes the layers.
  /// - Throws: `ModelError` when the tensor-parallel size does not divide what is split, or cuts blocks with one scale.
  public init(
    _ configuration: ModelConfiguration, parallel: ParallelContext, stage: ModelStage? = nil, dtype: DType,
    block: BlockBuilder = DecoderLayer.init
  ) throws {
    try Self.check(configuration, tensorParallelSize: parallel.tensor.size)
    try Self.check(configuration.mixture, modelType: configuration.modelType, parallel.layout)
    let stage = stage ?? .whole(configuration)
    (self.configuration, self.parallel, self.stage) = (configuration, parallel, stage)
    table = ParameterTable(dtype: dtype, scaling: configuration.scaling)
    let root = ParameterScope(table)
    let model = root("model")
    let initializer = Initializer.normal(standardDeviation: configuration.initializerRange)
    embedding = stage.holdsEmbedding
      ? VocabularyParallelEmbedding(
        model("embed_tokens"), vocabularySize: configuration.vocabularySize, hiddenSize: configuration.hiddenSize,
        initializer: initializer, parallel: parallel) : nil
    positionEmbedding = stage.holdsEmbedding && configuration.positions == .learned
      ? model("embed_positions").parameter(
        "weight", shape: [configuration.contextLength, configuration.hiddenSize], initializer: initializer,
        sharing: parallel.sequenceSharing) : nil
    let deepstackCount = configuration.vision?.deepstackLayers.count ?? 0
    guard !stage.holdsEmbedding || stage.layers.count >= deepstackCount else {
      throw ModelError(
        "the first pipeline stage holds \(stage.layers.count) layers, but pictures feed the first \(deepstackCount) of a "
          + "model of type \(configuration.modelType); give it as many, with --decoder-first-pipeline-num-layers or fewer stages")
    }
    vision = stage.holdsEmbedding ? configuration.vision.map { VisionTower(root("visual"), $0, parallel: parallel) } : nil
    layers = try stage.layers.map { try block(model("layers")($0), configuration, $0, parallel) }
    try table.requireWholeGroups()
    if parallel.isDeterministic { try configuration.requireDeterminism() }
    finalNorm = stage.holdsHead
      ? configuration.makeNorm(model("norm"), size: configuration.hiddenSize, sharing: parallel.sequenceSharing) : nil
    let rotated = configuration.rotatedDimension ?? configuration.headDimension
    let multimodal = configuration.multimodalRotary
    rotary = try RotaryEmbedding(configuration.rotary, dimensions: rotated, multimodal: multimodal)
    windowedRotary = try configuration.windowedRotary.map {
      try RotaryEmbedding($0, dimensions: rotated, multimodal: multimodal)
    }
    valueHead = stage.holdsHead && configuration.head == .value
      ? ValueHead(root, hiddenSize: configuration.hiddenSize, initializer: initializer, parallel: parallel) : nil
    guard stage.holdsHead, configuration.head == .vocabulary else {
      (headWeight, predictors, furtherEmbedding) = (nil, [], nil)
      return
    }
    if configuration.tiesEmbeddings, let embedding {
      headWeight = embedding.weight
    } else {
      let source = configuration.tiesEmbeddings ? model("embed_tokens").name("weight") : root("lm_head").name("weight")
      let piece = ParameterPiece(
        source, shape: [configuration.vocabularySize, configuration.hiddenSize], slice: parallel.tensorSlice(dimension: 0))
      headWeight = root("lm_head").parameter("weight", pieces: [piece], initializer: initializer)
    }
    predictors = try configuration.predictionLayers.map { layer in
      let scope = model("layers")(layer)
      return PredictionLayer(
        scope, configuration, parallel: parallel, block: try block(scope, configuration.ofPredictionLayers, layer, parallel))
    }
    furtherEmbedding = predictors.isEmpty || stage.holdsEmbedding
      ? nil
      : configuration.tiesEmbeddings
        ? headWeight.map { VocabularyParallelEmbedding($0, parallel: parallel) }
        : VocabularyParallelEmbedding(
          ParameterScope(ParameterTable(dtype: dtype))("model.embed_tokens"), vocabularySize: configuration.vocabularySize,
          hiddenSize: configuration.hiddenSize, initializer: initializer, parallel: parallel)
  }

  private static func check(_ configuration: ModelConfiguration, tensorParallelSize size: Int) throws {
    guard configuration.headCount % size == 0 else {
      throw ModelError(
        "--tensor-model-parallel-size \(size) does not divide num_attention_heads \(configuration.headCount); choose one that does")
    }
    let keyValueHeads = configuration.keyValueHeadCount
    guard keyValueHeads % size == 0 || size % keyValueHeads == 0 else {
      throw ModelError(
        "--tensor-model-parallel-size \(size) neither divides num_key_value_heads \(keyValueHeads) nor is a multiple of it")
    }
    if let linear = configuration.linearAttention, linear.keyHeadCount % size != 0 {
      throw ModelError(
        "--tensor-model-parallel-size \(size) does not divide linear_num_key_heads \(linear.keyHeadCount); choose one that does")
    }
  }

  private static func check(_ mixture: MixtureConfiguration?, modelType: String, _ layout: ParallelLayout) throws {
    let (expertSize, splitSize) = (layout.expertParallelSize, layout.expertTensorParallelSize)
    guard let mixture else {
      guard expertSize == 1 else {
        throw ModelError(
          "--expert-model-parallel-size \(expertSize) has nothing to divide: a model of type \(modelType) has no experts; "
            + "leave it out")
      }
      return
    }
    guard mixture.expertCount % expertSize == 0 else {
      throw ModelError(
        "--expert-model-parallel-size \(expertSize) does not divide the model's \(mixture.expertCount) experts; "
          + "choose one that does")
    }
    guard mixture.intermediateSize % splitSize == 0 else {
      throw ModelError(
        "--expert-tensor-parallel-size \(splitSize) does not divide moe_intermediate_size \(mixture.intermediateSize); "
          + "choose one that does (it is --tensor-model-parallel-size where it is not given)")
    }
  }

  /// The weight that this stage and the other end of the pipeline both hold a copy of (a tied embedding); nil where it
  /// has none.
  public var sharedWithOtherStage: Parameter? {
    guard configuration.tiesEmbeddings, configuration.head == .vocabulary, stage.holdsEmbedding != stage.holdsHead
    else { return nil }
    return embedding?.weight ?? headWeight
  }

  /// `[T]` tokens → `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`), in the first stage, and where prediction
  /// layers are.
  open func embed(_ tokens: Tensor) -> Tensor {
    guard let embedding = embedding ?? furtherEmbedding else {
      preconditionFailure("a stage without the embedding embeds nothing")
    }
    return embedding(tokens)
  }

  /// Embeddings as the first layer is given them: scaled, and with what is learned of their positions.
  private func placed(_ embedded: Tensor, _ positions: Tensor) -> Tensor {
    var hidden = embedded
    if configuration.scalesEmbeddings {
      // The factor is rounded to the activations' type, as in `transformers`.
      hidden = hidden * Tensor([Float(Double(configuration.hiddenSize).squareRoot())]).to(dtype: hidden.dtype, device: hidden.device)
    }
    guard let positionEmbedding else { return hidden }
    // Padding may stand past the last position.
    let own = parallel.routedPart(positions).clamped(0, max: configuration.contextLength - 1)
    return hidden + Tensor.embedding(positionEmbedding.tensor, indices: own)
  }

  /// What the layers are given of pictures, in the first stage of a model that takes them.
  /// - Parameter patches: of all of them, one after another. `[patches, numbers of one]`
  public func features(_ patches: Tensor, grids: [ImageGrid]) -> VisionFeatures {
    guard let vision else { preconditionFailure("a model without a vision tower sees no pictures") }
    return vision(patches, grids: grids)
  }

  /// Runs the stage: `[T]` tokens in the first, the previous one's output elsewhere → `[T, hiddenSize]`, after the final
  /// norm in the last. Sequence parallel: `[T / ranks, hiddenSize]`.
  public func hidden(_ input: Tensor, _ context: ForwardContext) -> Tensor {
    normed(unnormed(input, context), context)
  }

  private func normed(_ hidden: Tensor, _ context: ForwardContext) -> Tensor {
    guard let finalNorm else { return hidden }
    return (finalNorm as? RMSNorm)?(adding: nil, to: hidden, context: context).normed ?? finalNorm(hidden)
  }

  /// Logits of all rows of a step that decodes, each the last token of its context, by a whole model. `[rows, vocabulary]`
  public func decodingLogits(_ tokens: Tensor, _ context: ForwardContext) -> Tensor {
    let hidden = unnormed(tokens, context)
    if let norm = finalNorm as? RMSNorm, let logits = fewRowsLogits(hidden, norm) { return capped(logits) }
    return logits(normed(hidden, context))
  }

  /// Embeddings and the table of their positions, by one kernel; nil: there is something that it doesn't know.
  private func begun(_ tokens: Tensor, _ context: ForwardContext) -> (hidden: Tensor, table: RotaryTable)? {
    guard context.fusesOperators, !gradientsEnabled, tokens.device.kind == .cuda, let embedding,
      parallel.tensor.size == 1, configuration.positions == .rotary, !configuration.scalesEmbeddings,
      context.positions.shape.count == 1, context.sequenceParts.isEmpty, windowedRotary == nil,
      embedding.weight.dtype == .bfloat16, embedding.weight.lowRankTerms == nil
    else { return nil }
    return rotary.embedded(tokens.contiguous(), embedding.weight.tensor, positions: context.positions.contiguous())
  }

  /// The stage up to the final norm.
  private func unnormed(_ input: Tensor, _ context: ForwardContext) -> Tensor {
    let begun = begun(input, context)
    var hidden = begun?.hidden ?? (stage.holdsEmbedding ? placed(embed(input), context.positions) : input)
    var images: PlacedFeatures?
    if let vision, let inputs = context.images {
      images = PlacedFeatures(inputs, vision, tokenCount: input.size(0), parallel: parallel)
      if let images { hidden = images.replacing(hidden) }
    }
    let dtype = hidden.dtype
    func table(_ rotary: RotaryEmbedding) -> RotaryTable {
      rotary.table(positions: context.positions, parts: context.sequenceParts, dtype: dtype)
    }
    let ownTable = begun?.table ?? table(rotary)
    let windowedTable = windowedRotary.map(table) ?? ownTable
    if let (layers, contexts) = context.fewRows {
      return layers(hidden, cosine: ownTable.cosine, sine: ownTable.sine, table: contexts)
    }
    let tables = stage.layers.map { configuration.windowedLayers.contains($0) ? windowedTable : ownTable }
    var context = context
    // Layers that run again must send their tokens where they went the first time.
    if gradientsEnabled, context.runner.runsAgain, configuration.mixture != nil {
      context.routing = context.routing ?? RoutingRecord()
    }
    let (passed, first) = (context, stage.layers.lowerBound)
    var end = 0
    while end < layers.count {
      // Features are added outside of what may run again.
      let feedsPictures = end < images?.deepstackCount ?? 0
      let blocks = end..<min(end + (feedsPictures ? 1 : context.runner.groupSize), layers.count)
      end = blocks.upperBound
      let parameters = parametersByBlock.blocks[blocks].joined().map(\.tensor)
      hidden = context.runner.run(blocks, input: hidden, parameters: parameters) { [layers] input in
        blocks.reduce(input) { hidden, place in
          passed.layerInputs?.note(hidden, layer: first + place)
          return layers[place](hidden, rotary: tables[place], context: passed)
        }
      }
      if feedsPictures, let images { hidden = images.added(to: hidden, afterLayer: blocks.lowerBound) }
    }
    context.layerInputs?.note(hidden, layer: stage.layers.upperBound)
    return hidden
  }

  /// Whether layers can use kernels of ours, which sum in an order of their own and read 16 bytes at a time.
  /// - Parameter hasGradients: whether gradients are wanted: on a CPU there are none by kernels, nor is deterministic mode.
  public func fusesOperators(in dtype: DType, hasGradients: Bool = true) -> Bool {
    let device = parallel.device
    let run = Kernels.run(on: device, dtype)
      || !hasGradients && !parallel.isDeterministic && Kernels.runWithoutGradients(on: device, dtype)
    return run && configuration.headDimension % 32 == 0
      && configuration.hiddenSize % 8 == 0 && configuration.intermediateSize % (8 * parallel.tensor.size) == 0
  }

  /// The last stage's output → logits of this rank's part of the vocabulary, in the given rows.
  /// - Parameter rows: which tokens, int64; nil: all.
  open func logits(_ hidden: Tensor, at rows: Tensor? = nil) -> Tensor {
    guard let headWeight else { preconditionFailure("a stage without the head has no logits") }
    let entered = parallel.enteringTensorParallel(hidden)
    return capped(parallel.product(rows.map { entered.indexSelect(0, index: $0) } ?? entered, headWeight))
  }

  private func capped(_ logits: Tensor) -> Tensor {
    configuration.logitSoftCap.map { (logits / $0).tanh() * $0 } ?? logits
  }

  /// What the head says of `targets`, from the last stage's output: a critic says what it expects where they are predicted.
  /// - Parameters:
  ///   - rows: which tokens predict them. `[R]`, int64
  ///   - targets: `[R]`, int64.
  ///   - temperature: divides logits; a critic's values are left as they are.
  public func output(_ hidden: Tensor, at rows: Tensor, targets: Tensor, temperature: Double) -> HeadOutput {
    guard let valueHead else {
      return .vocabulary(statistics(hidden, at: rows, targets: targets, temperature: temperature))
    }
    return .value(valueHead(hidden).indexSelect(0, index: rows))
  }

  /// Log-probabilities of `targets` and entropies, from the last stage's output.
  /// - Parameters:
  ///   - rows: which tokens predict them. `[R]`, int64
  ///   - targets: `[R]`, int64.
  public func statistics(_ hidden: Tensor, at rows: Tensor, targets: Tensor, temperature: Double) -> TokenStatistics {
    let piece = headWeight?.pieces[0]
    let first = piece.flatMap { piece in piece.slice?.range(of: piece.shape[0]).lowerBound } ?? 0
    if let headWeight, !parallel.isDeterministic || parallel.tensor.size == 1, configuration.logitSoftCap == nil,
      HiddenLogProbs.run(on: hidden, headWeight)
    {
      return HiddenLogProbs.statistics(
        parallel.enteringTensorParallel(hidden).indexSelect(0, index: rows), headWeight, from: first, targets: targets,
        temperature: temperature, group: parallel.tensor, isDeterministic: parallel.isDeterministic)
    }
    return vocabularyLogProbs(
      logits: logits(hidden, at: rows), from: first, targets: targets, temperature: temperature, group: parallel.tensor,
      isDeterministic: parallel.isDeterministic)
  }

  /// The parameters of each block of this stage, prediction layers behind the others, and those outside, in the table's order.
  public private(set) lazy var parametersByBlock: (root: [Parameter], blocks: [[Parameter]]) = {
    var root: [Parameter] = []
    var blocks = Array(repeating: [Parameter](), count: layers.count + predictors.count)
    let places = Dictionary(
      uniqueKeysWithValues: (Array(stage.layers) + configuration.predictionLayers.prefix(predictors.count)).enumerated()
        .map { ($1, $0) })
    for parameter in table.parameters {
      if let place = Self.layer(of: parameter.name).flatMap({ places[$0] }) {
        blocks[place].append(parameter)
      } else {
        root.append(parameter)
      }
    }
    return (root, blocks)
  }()

  /// The matrices that hidden states are multiplied by, those of experts aside.
  package var matrices: [Parameter] {
    table.linearWeights + (headWeight.map { [$0] } ?? [])
  }

  /// Whether a checkpoint tensor is a constant, kept in fp32 whatever type the model computes in.
  public static func isConstant(_ name: String) -> Bool { name.hasSuffix("." + Router.choiceBiasName) }

  /// The layer that a weight belongs to, by its name here or in the checkpoint; nil: none.
  public static func layer(of name: String) -> Int? {
    let prefix = "model.layers."
    return name.hasPrefix(prefix) ? Int(name.dropFirst(prefix.count).prefix { $0 != "." }) : nil
  }
}
