import Models
import Torch

/// Decoding steps recorded as CUDA graphs: one for each of some batch sizes, smaller batches filled up with rows of nothing.
///
/// A step of a small model is hundreds of small operators, which the host cannot queue as fast as a GPU runs them; a graph
/// is queued at once.
final class DecodeGraphs {
  private struct Recording {
    let rows: Int
    let graph: CUDAGraph
    /// `[rows, vocabulary]`, in memory that all recordings share.
    let logits: Tensor
  }

  private let cache: KVCache
  /// Inputs of all recordings, of which each reads its first rows.
  private let tokens: Tensor
  private let positions: Tensor
  private let lengths: Tensor
  private let order: Tensor
  private let pages: Tensor
  private var recordings: [Recording] = []
  /// What recordings of few rows work in.
  private let layers: FewRowsLayers?

  /// Whether a model's steps can be recorded: all its operators are queued without a look at what they give or data of the
  /// host's, and attention is the usual.
  static func support(_ model: CausalLM, device: Device, dtype: DType) -> Bool {
    let configuration = model.configuration
    return configuration.latentAttention == nil
      && configuration.linearAttention == nil && !model.countsRowsOfFloat8Experts
      // Experts one by one, of as many rows as the host is told.
      && (configuration.mixture == nil || !model.parallel.isDeterministic)
      && configuration.windowedLayers.isEmpty && configuration.attentionSoftCap == nil && !configuration.hasAttentionSinks
      && configuration.positions == .rotary && !configuration.scalesEmbeddings && configuration.queryKeyNorm != .acrossHeads
      && Kernels.attend(
        on: device, dtype, dimension: configuration.headDimension, valueDimension: configuration.valueHeadDimension)
  }

  /// Batch sizes that are recorded, as SGLang's: all small ones that are even, then steps that waste little.
  static func sizes(upTo largest: Int) -> [Int] {
    let all = [1, 2, 4, 8, 12, 16] + stride(from: 24, through: 64, by: 8) + stride(from: 80, through: 160, by: 16)
      + stride(from: 192, through: 512, by: 32)
    return all.filter { $0 < largest } + [largest]
  }

  /// Records all sizes; runs each once before.
  init(_ model: CausalLM, cache: KVCache, contextLength: Int, largestBatch: Int, device: Device) throws {
    self.cache = cache
    func input(_ shape: [Int], _ dtype: DType) -> Tensor { .zeros(shape, dtype: dtype, device: device) }
    (tokens, positions) = (input([largestBatch], .int64), input([largestBatch], .int64))
    (lengths, order) = (input([largestBatch], .int32), input([largestBatch], .int32))
    pages = input([largestBatch, (contextLength + cache.pageSize - 1) / cache.pageSize], .int32)
    layers = model.layersForFewRows(keys: cache.keys, values: cache.values, pageSize: cache.pageSize)
    for rows in Self.sizes(upTo: largestBatch).reversed() {
      func first(_ tensor: Tensor) -> Tensor { tensor.narrow(0, start: 0, length: rows) }
      let table = PageTable(pages: first(pages), lengths: first(lengths), order: first(order))
      let attention = PageTableAttention(cache: cache, table: table, isDeterministic: model.parallel.isDeterministic)
      func logits() -> Tensor {
        var context = ForwardContext(positions: first(positions), attention: attention, fusesOperators: true)
        if let layers, rows <= layers.mostRows { context.fewRows = (layers, table) }
        return model.logits(model.hidden(first(tokens), context))
      }
      // Kernels are compiled and libraries made ready outside of a recording.
      _ = logits()
      var recorded: Tensor?
      let graph = try CUDAGraph(on: device, sharing: recordings.first?.graph) { recorded = logits() }
      recordings.append(Recording(rows: rows, graph: graph, logits: recorded!))
    }
  }

  /// Whether a plan is a decoding step that was recorded.
  func hold(_ plan: BatchPlan) -> Bool {
    plan.items.count <= tokens.size(0)
      && plan.items.allSatisfy { $0.tokens.count == 1 && $0.samples && $0.promptLogProbs.isEmpty }
  }

  /// The logits of a plan, `[rows, vocabulary]`, until the next one.
  /// - Parameters:
  ///   - tokens: the plan's, on the device.
  ///   - positions: where they are not the tokens' places, since pictures stand before them.
  func run(_ plan: BatchPlan, tokens: Tensor, positions given: [Int]? = nil) throws -> Tensor {
    let count = plan.items.count
    let recording = recordings.last { $0.rows >= count }!
    func write<Element: TensorElement>(_ values: [Element], to target: Tensor) {
      _ = target.copy_(Tensor(values).pinned(), nonBlocking: true)
    }
    let rest = recording.rows - count
    _ = self.tokens.narrow(0, start: 0, length: count).copy_(tokens)
    func rows(_ tensor: Tensor) -> Tensor { tensor.narrow(0, start: 0, length: recording.rows) }
    write((given ?? plan.items.map(\.start)) + repeatElement(0, count: rest), to: rows(positions))
    let ends = plan.items.map(\.end) + repeatElement(0, count: rest)
    write(ends.map { Int32($0) }, to: rows(lengths))
    write(PageTable.order(ends), to: rows(order))
    let table = PageTable.rectangle(plan.items.map(\.pages))
    let target = pages.narrow(0, start: 0, length: count).narrow(1, start: 0, length: table.size(1))
    _ = target.copy_(table.sent(to: pages.device))
    try recording.graph.replay()
    return recording.logits.narrow(0, start: 0, length: count)
  }
}
