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
  /// Set once the model is loaded and it is known how many pages there are.
  var cache: KVCache!
  /// Copies in host memory of weights whose own memory was given back.
  var stashedWeights: [Tensor] = []
  /// Of each checkpoint tensor that this rank holds, or holds parts of, by its name.
  private(set) lazy var places: [String: [Place]] = Dictionary(
    grouping: model.table.parameters.flatMap { parameter in
      parameter.rows.map {
        Place(parameter: parameter, rows: $0.rows, piece: $0.piece, stored: model.configuration.storedPart($0.piece))
      }
    }, by: \.stored.name)

  init(
    _ folder: HuggingFaceFolder, _ configuration: ModelConfiguration, dtype: DType, parallel: ParallelContext
  ) throws {
    (self.parallel, self.dtype) = (parallel, dtype)
    model = try configuration.model(parallel: parallel, dtype: dtype)
    try catchingTorchErrors { try model.load(folder, dtype: dtype, device: parallel.device) }
  }

  /// Memory that the KV cache may take: on a GPU, what other uses leave of the share for weights and cache.
  func cacheBytes(_ options: EngineOptions) throws -> Int {
    guard parallel.device.kind == .cuda, let fraction = options.memoryFraction else { return options.cacheBytes }
    let memory = try DeviceMemory.of(parallel.device)
    return memory.free + memory.reserved - memory.allocated - Int(Double(memory.total) * (1 - fraction))
  }

  func makeCache(pageCount: Int, pageSize: Int) throws {
    cache = try catchingTorchErrors {
      KVCache(
        model.configuration, pageCount: pageCount, pageSize: pageSize, dtype: dtype, device: parallel.device,
        tensorParallelSize: parallel.tensor.size)
    }
  }

  /// Logits of prompts are made for so many numbers at a time.
  private static let maxPromptLogits = 1 << 25

  /// Runs a plan.
  /// - Parameters:
  ///   - routing: notes the experts that tokens go to; nil: nobody asks.
  ///   - sampled: is given the logits that are sampled from, whole, in the plan's order. `[rows, vocabulary]`
  ///   - prompt: is given those of wanted prompt positions, block by block in the plan's order. `[block, vocabulary]`, fp32
  func run(
    _ plan: BatchPlan, routing: RoutingRecord?, sampled: (Tensor) throws -> Void,
    prompt: (_ block: Range<Int>, _ logits: Tensor) throws -> Void
  ) throws {
    let device = parallel.device
    let tokens = Tensor(plan.items.flatMap(\.tokens)).to(device: device)
    let positions = Tensor(plan.items.flatMap { Array($0.start..<$0.end) }).to(device: device)
    let attention = PagedAttention(plan, cache: cache, dtype: dtype, device: device)
    let hidden = model.hidden(tokens, ForwardContext(positions: positions, attention: attention, routing: routing))
    let rows = LogitRows(plan)
    if !rows.sampled.isEmpty {
      let isWhole = rows.sampled.count == plan.tokenCount
      try sampled(wholeLogits(hidden, at: isWhole ? nil : Tensor(rows.sampled).to(device: device)))
    }
    let block = max(1, Self.maxPromptLogits / model.configuration.vocabularySize)
    for start in stride(from: 0, to: rows.prompt.count, by: block) {
      let range = start..<min(start + block, rows.prompt.count)
      let index = Tensor(Array(rows.prompt[range])).to(device: device)
      try prompt(range, wholeLogits(hidden, at: index).to(dtype: .float32))
    }
  }

  /// `[rows, vocabulary]` on every rank.
  private func wholeLogits(_ hidden: Tensor, at rows: Tensor?) -> Tensor {
    let part = model.logits(hidden, at: rows)
    let (group, size) = (parallel.tensor, model.configuration.vocabularySize)
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
