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
    let inputs: StepInputs
    /// Of all rows, in memory that all recordings share.
    let output: StepLogits
  }

  private let cache: KVCache
  /// Inputs of all recordings, of which each reads its first rows.
  private let tokens: Tensor
  private let pages: Tensor
  /// The rows' pages as they were sent last.
  private var sentPages: [[Int]] = []
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
    tokens = input([largestBatch], .int64)
    pages = input([largestBatch, (contextLength + cache.pageSize - 1) / cache.pageSize], .int32)
    let memory = input([StepInputs.byteCount(rows: largestBatch)], .uint8)
    layers = model.layersForFewRows(keys: cache.keys, values: cache.values, pageSize: cache.pageSize)
    for rows in Self.sizes(upTo: largestBatch).reversed() {
      let inputs = StepInputs(memory, rows: rows)
      let table = PageTable(pages: pages.narrow(0, start: 0, length: rows), lengths: inputs.lengths, order: inputs.order)
      let attention = PageTableAttention(cache: cache, table: table, isDeterministic: model.parallel.isDeterministic)
      func step() -> StepLogits {
        var context = ForwardContext(positions: inputs.positions, attention: attention, fusesOperators: true)
        if let layers, rows <= layers.mostRows { context.fewRows = (layers, table) }
        let logits = model.decodingLogits(tokens.narrow(0, start: 0, length: rows), context)
        return StepLogits(values: logits, samples: Kernels.sample(
          logits, temperatures: inputs.temperatures, keys: inputs.keys, isGreedy: inputs.isGreedy))
      }
      // Kernels are compiled and libraries made ready outside of a recording.
      _ = step()
      var recorded: StepLogits?
      let graph = try CUDAGraph(on: device, sharing: recordings.first?.graph) { recorded = step() }
      recordings.append(Recording(rows: rows, graph: graph, inputs: inputs, output: recorded!))
    }
  }

  /// Whether a plan is a decoding step that was recorded.
  func hold(_ plan: BatchPlan) -> Bool {
    plan.items.count <= tokens.size(0)
      && plan.items.allSatisfy { $0.tokens.count == 1 && $0.samples && $0.promptLogProbs.isEmpty }
  }

  /// What a plan gives, until the next one.
  /// - Parameters:
  ///   - tokens: the plan's, on the device.
  ///   - positions: where they are not the tokens' places, since pictures stand before them.
  ///   - sampling: how the rows are sampled; nil: not by this.
  func run(
    _ plan: BatchPlan, tokens: Tensor, positions: [Int]? = nil, sampling: Sampler.PlainRows?
  ) throws -> StepLogits {
    let count = plan.items.count
    let recording = recordings.last { $0.rows >= count }!
    Kernels.transfer(tokens.contiguous(), to: self.tokens.narrow(0, start: 0, length: count))
    recording.inputs.send(plan, positions: positions, sampling)
    let table = plan.items.map(\.pages)
    if table != sentPages {
      let rectangle = PageTable.rectangle(table)
      let target = pages.narrow(0, start: 0, length: count).narrow(1, start: 0, length: rectangle.size(1))
      _ = target.copy_(rectangle.sent(to: pages.device))
      sentPages = table
    }
    try recording.graph.replay()
    let logits = recording.output.values.narrow(0, start: 0, length: count)
    return StepLogits(values: logits, samples: sampling == nil ? nil : recording.output.samples)
  }
}

/// Logits that are sampled from, and what was sampled of them already.
struct StepLogits {
  /// `[rows, vocabulary]`
  let values: Tensor
  /// Of these rows, and maybe of more after them; nil: nothing yet.
  var samples: Samples?
}
