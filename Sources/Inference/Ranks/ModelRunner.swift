import Checkpoints
import Models
import Parallelism
import Torch

/// One rank of an engine: its part of the model and of the KV cache, and what a step does with them.
///
/// Every rank runs the same plans in the same order. The first one samples; the others only take part.
final class ModelRunner {
  let model: CausalLM
  let parallel: ParallelContext
  let dtype: DType
  /// Of the KV cache.
  let cacheType: DType
  /// Set once the model is loaded and it is known how many pages there are.
  var cache: KVCache!
  /// nil: the engine takes none.
  private(set) var adapters: RankAdapters?
  /// What drafts on top of the model; nil: nothing does.
  private(set) var head: (any DraftHead)?
  /// Set once there is a head and it is known how many pages there are.
  private(set) var headRunner: HeadRunner?
  /// nil: decoding steps are not recorded.
  private var graphs: DecodeGraphs?
  /// What the last plan sampled, `[rows]`, int64; nil: nothing, or no plan needs it.
  private var sampledTokens: Tensor?
  /// Memory of the host for weights whose own is given back, by their places in `weights`; made when it is first needed.
  var stashes: [Int: Tensor] = [:]
  /// Those that hold weights now.
  var stashed: Set<Int> = []
  /// Where the weights lie at addresses that stay; nil: each has memory of its own.
  private(set) var weightRegion: DeviceRegion?
  /// Copies of the weights for products on a CPU.
  private(set) lazy var packedWeights = PackedWeights(model, head: head)
  /// From memory of a trainer that shares its weights; nil: none does.
  var linkedWeights: WeightCopies?
  /// Of each checkpoint tensor that this rank holds, or holds parts of, by its name.
  private(set) lazy var places: [String: [Place]] = Dictionary(grouping: placesByWeight.values, by: \.stored.name)
  /// Of each weight that this rank holds, or holds a part of, by the model's own name for it.
  private(set) lazy var placesByWeight: [String: Place] = Dictionary(
    uniqueKeysWithValues: model.table.parameters.flatMap { parameter in
      parameter.rows.map {
        (
          $0.piece.checkpointName,
          Place(parameter: parameter, rows: $0.rows, piece: $0.piece, stored: model.configuration.storedPart($0.piece, of: parameter))
        )
      }
    })

  init(
    _ folder: HuggingFaceFolder, _ configuration: ModelConfiguration, dtype: DType, cacheType: DType? = nil,
    parallel: ParallelContext
  ) throws {
    (self.parallel, self.dtype, self.cacheType) = (parallel, dtype, cacheType ?? dtype)
    model = try configuration.model(parallel: parallel, dtype: dtype)
    try catchingTorchErrors { try model.load(folder, dtype: dtype, device: parallel.device) }
  }

  /// Memory that the KV cache may take: on a GPU, what other uses leave of the share for weights and cache.
  func cacheBytes(_ options: EngineOptions) throws -> Int {
    guard parallel.device.kind == .cuda, let fraction = options.memoryFraction else { return options.cacheBytes }
    let memory = try DeviceMemory.of(parallel.device)
    return memory.free + memory.reserved - memory.allocated - Int(Double(memory.total) * (1 - fraction))
  }

  /// - Parameters:
  ///   - stateSlots: places for the states that the model keeps of requests.
  ///   - keepsAddresses: memory of a GPU that is let go of comes back to the same addresses.
  func makeCache(pageCount: Int, pageSize: Int, stateSlots: Int = 0, keepsAddresses: Bool = false) throws {
    if keepsAddresses { try moveWeightsToRegion() }
    cache = try catchingTorchErrors {
      KVCache(
        model.configuration, pageCount: pageCount, pageSize: pageSize, dtype: cacheType, device: parallel.device,
        tensorParallelSize: parallel.tensor.size, stateSlots: stateSlots, stateType: dtype,
        keepsAddresses: keepsAddresses)
    }
  }

  private func moveWeightsToRegion() throws {
    guard parallel.device.kind == .cuda, weightRegion == nil else { return }
    let storages = StorageLayout(of: weights.map(\.tensor))
    guard let region = try? DeviceRegion(byteCount: storages.byteCount, on: parallel.device) else { return }
    try catchingTorchErrors { storages.move(to: try region.bytes()) }
    try DeviceMemory.emptyCache()
    weightRegion = region
  }

  func makeAdapters(capacity: Int) { adapters = RankAdapters(model, dtype: dtype, capacity: capacity) }

  private var fusesOperators: Bool { model.fusesOperators(in: dtype, hasGradients: false) }

  /// Records decoding steps of up to so many requests, where that can be done.
  func recordDecoding(contextLength: Int, largestBatch: Int) throws {
    graphs = nil
    // Ranks that wait for each other are not recorded.
    guard largestBatch > 0, parallel.tensor.size == 1, fusesOperators,
      cacheType == dtype, DecodeGraphs.support(model, device: parallel.device, dtype: dtype)
    else { return }
    graphs = try catchingTorchErrors {
      try DecodeGraphs(
        model, cache: cache, contextLength: contextLength, largestBatch: largestBatch, device: parallel.device)
    }
  }

  var hasRecordings: Bool { graphs != nil }

  /// Recordings name memory that is about to go, unless it comes back to its place.
  func forgetRecordings(_ tags: Set<MemoryTag>) {
    let isKept = (weightRegion != nil || !tags.contains(.weights)) && (cache.keepsAddresses || !tags.contains(.keyValueCache))
    if !isKept || tags.contains(.cudaGraph) { graphs = nil }
  }

  /// In deterministic mode, the ranks' parts of the vocabulary, whose sums training adds up one by one.
  private(set) lazy var vocabularyParts: [Range<Int>]? = !parallel.isDeterministic ? nil
    : (0..<parallel.tensor.size).map {
      ParameterPiece.Slice(dimension: 0, index: $0, count: parallel.tensor.size).range(of: model.configuration.vocabularySize)
    }

  /// Loads a draft head.
  func attachHead(_ source: HeadSource) throws {
    head = try catchingTorchErrors {
      switch source {
      case .eagle(let folder): try EagleHead(folder, on: model, dtype: dtype)
      case .eagle3(let folder): try Eagle3Head(folder, on: model, dtype: dtype)
      case .predictionLayer: PredictionHead(model)
      }
    }
  }

  /// - Parameter draftSlots: most pairs of drafts at once.
  func makeHeadRunner(draftSlots: Int) throws {
    headRunner = try catchingTorchErrors {
      head.map {
        HeadRunner(
          $0, beside: cache, draftSlots: draftSlots, tensorParallelSize: parallel.tensor.size, dtype: dtype,
          device: parallel.device)
      }
    }
  }

  /// Runs the draft head.
  /// - Returns: whole logits, where they are wanted. `[T, vocabulary]`
  func runHead(_ step: HeadStep) -> Tensor? {
    packedWeights.make()
    return headRunner!.run(step).map { head!.overVocabulary(whole($0, size: head!.predictionCount)) }
  }

  /// Takes what is kept of tokens from slots to others, all at once.
  func move(from sources: [Int], to destinations: [Int]) {
    let (sources, destinations) = (Tensor(sources).sent(to: parallel.device), Tensor(destinations).sent(to: parallel.device))
    cache.move(from: sources, to: destinations)
    headRunner?.move(from: sources, to: destinations)
  }

  /// Logits of prompts are made for so many numbers at a time.
  private static let maxPromptLogits = 1 << 25

  /// Runs a plan.
  /// - Parameters:
  ///   - images: of each item's request.
  ///   - routing: notes the experts that tokens go to; nil: nobody asks.
  ///   - keepsSamples: whether the next plan may name what this one samples.
  ///   - sampling: is asked how the logits will be sampled where the step is recorded; nil: it cannot do so.
  ///   - sampled: is given the logits that are sampled from, whole, in the plan's order, and returns the tokens, `[rows]`; what it
  ///     returns on other ranks than the first is of no matter.
  ///   - prompt: is given those of wanted prompt positions, block by block in the plan's order. `[block, vocabulary]`, fp32
  ///   - hidden: is given the model's output of all tokens, after its final norm. `[T, hiddenSize]`
  func run(
    _ plan: BatchPlan, images: [RequestImages?], routing: RoutingRecord?, keepsSamples: Bool = false,
    sampling: () -> Sampler.PlainRows? = { nil }, sampled: (StepLogits) throws -> Tensor?,
    prompt: (_ block: Range<Int>, _ logits: Tensor) throws -> Void, hidden note: ((Tensor) throws -> Void)? = nil
  ) throws {
    let device = parallel.device
    packedWeights.make()
    let tokens = tokens(plan)
    let images = PlanImages(plan, images)
    // What is recorded knows of no adapters and shows no hidden states.
    if let graphs, routing == nil, note == nil, plan.adapters.isEmpty, graphs.hold(plan) {
      let chosen = try sampled(graphs.run(plan, tokens: tokens, positions: images?.axes[0], sampling: sampling()))
      sampledTokens = keepsSamples ? shared(chosen, count: plan.items.count) : nil
      return
    }
    let positions = (images?.positions ?? Tensor(plan.items.flatMap(\.positions))).sent(to: device)
    let attention = PagedAttention(
      plan, cache: cache, dtype: dtype, device: device, isDeterministic: parallel.isDeterministic)
    var context = ForwardContext(positions: positions, attention: attention, routing: routing, fusesOperators: fusesOperators)
    context.images = images?.inputs(model)
    if let layers = head?.layerInputs, !layers.isEmpty { context.layerInputs = LayerInputs(layers) }
    adapters?.begin(plan)
    defer { adapters?.end() }
    let hidden = model.hidden(tokens, context)
    headRunner?.note(hidden, context.layerInputs, slots: attention.slots)
    try note?(hidden)
    let rows = LogitRows(plan)
    if !rows.sampled.isEmpty {
      let isWhole = rows.sampled.count == plan.tokenCount
      let logits = wholeLogits(hidden, at: isWhole ? nil : Tensor(rows.sampled).sent(to: device))
      let chosen = try sampled(StepLogits(values: logits))
      sampledTokens = keepsSamples ? shared(chosen, count: rows.sampled.count) : nil
    }
    let block = max(1, Self.maxPromptLogits / model.configuration.vocabularySize)
    for start in stride(from: 0, to: rows.prompt.count, by: block) {
      let range = start..<min(start + block, rows.prompt.count)
      let index = Tensor(Array(rows.prompt[range])).sent(to: device)
      try prompt(range, wholeLogits(hidden, at: index).to(dtype: .float32))
    }
  }

  /// A plan's tokens, `[T]`, with those that the plan before has sampled in their places.
  private func tokens(_ plan: BatchPlan) -> Tensor {
    func known() -> Tensor { Tensor(plan.items.flatMap(\.tokens)).sent(to: parallel.device) }
    var (places, rows): ([Int], [Int]) = ([], [])
    var start = 0
    for item in plan.items {
      if let row = item.sampledToken {
        places.append(start)
        rows.append(row)
      }
      start += item.tokens.count
    }
    guard let first = places.first else { return known() }
    func index(_ values: [Int]) -> Tensor { Tensor(values).sent(to: parallel.device) }
    let sampled = sampledTokens!
    let isAll = rows.elementsEqual(0..<sampled.size(0))
    let new = isAll ? sampled : sampled.indexSelect(0, index: index(rows))
    if places.count == plan.tokenCount { return new }
    let all = known()
    if places.elementsEqual(first..<first + places.count) {
      _ = all.narrow(0, start: first, length: places.count).copy_(new)
      return all
    }
    return all.indexCopy_(0, index: index(places), source: new)
  }

  /// The first rank's tokens, on every rank.
  private func shared(_ tokens: Tensor?, count: Int) -> Tensor {
    let group = parallel.tensor
    guard group.size > 1 else { return tokens! }
    let tokens = group.rank == 0 ? tokens! : .empty([count], dtype: .int64, device: parallel.device)
    group.broadcast(tokens, from: 0)
    return tokens
  }

  /// `[rows, vocabulary]` on every rank.
  private func wholeLogits(_ hidden: Tensor, at rows: Tensor?) -> Tensor {
    whole(model.logits(hidden, at: rows), size: model.configuration.vocabularySize)
  }

  private func whole(_ part: Tensor, size: Int) -> Tensor {
    let group = parallel.tensor
    guard group.size > 1 else { return part }
    // The last ranks' parts may be shorter.
    let width = (size + group.size - 1) / group.size
    let padded = part.size(1) == width ? part : part.constantPadNd([0, width - part.size(1)])
    return padded.gathered(from: group).view([group.size, part.size(0), width]).transpose(0, dim1: 1)
      .reshape([part.size(0), group.size * width]).narrow(1, start: 0, length: size)
  }
}

/// Which tokens of a batch need logits.
private struct LogitRows {
  /// Of each item that samples, the last token that is no draft, and the drafts.
  var sampled: [Int] = []
  /// The token before each prompt position whose log-probability is wanted.
  var prompt: [Int] = []

  init(_ plan: BatchPlan) {
    var start = 0
    for item in plan.items {
      sampled += (start..<start + item.tokens.count).suffix(item.sampleCount)
      prompt += item.promptLogProbs.map { start + $0 - 1 - item.start }
      start += item.tokens.count
    }
  }
}
