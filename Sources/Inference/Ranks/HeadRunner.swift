import Models
import Torch

/// One rank's part of a draft head: the head's KV cache, and the features that the model computed of all tokens in the cache.
///
/// The head sees pairs of a token and the feature of the token before it, so the first token of a request makes none. The
/// pair of the token at position `p` stands where the model's KV of that token does, in the same pages: it is a function
/// of the tokens up to it, and prefixes are shared as they are. Pairs of drafts stand in slots past those of all pages.
final class HeadRunner {
  private let head: any DraftHead
  /// `[slots, hiddenSize]`: of the token in each slot of the model's cache.
  private let features: Tensor
  private let cache: KVCache
  private let device: Device
  /// What the last step made. `[T, hiddenSize]`
  private var latest: Tensor?

  /// - Parameter draftSlots: pairs of drafts that the cache holds.
  init(
    _ head: any DraftHead, beside model: KVCache, draftSlots: Int, tensorParallelSize: Int, dtype: DType, device: Device
  ) {
    (self.head, self.device) = (head, device)
    let extraPages = (draftSlots + model.pageSize - 1) / model.pageSize
    features = .empty(
      [model.pageCount * model.pageSize, head.configuration.hiddenSize], dtype: dtype, device: device)
    cache = KVCache(
      head.configuration, pageCount: model.pageCount + extraPages, pageSize: model.pageSize, dtype: dtype, device: device,
      tensorParallelSize: tensorParallelSize)
  }

  /// What a token of the model's cache takes here, on each rank.
  static func bytesPerToken(_ head: any DraftHead, dtype: DType, tensorParallelSize: Int) -> Int {
    head.configuration.hiddenSize * dtype.size
      + KVCache.bytesPerToken(head.configuration, dtype: dtype, tensorParallelSize: tensorParallelSize)
  }

  /// Keeps the features of tokens that the model has run.
  func note(_ output: Tensor, _ layerInputs: LayerInputs?, slots: Tensor) {
    _ = features.indexCopy_(0, index: slots, source: head.features(output, layerInputs: layerInputs?.tensors ?? []))
  }

  /// Takes features from slots to others, all at once.
  func move(from sources: Tensor, to destinations: Tensor) { features.moveRows(from: sources, to: destinations) }

  /// Runs the head.
  /// - Returns: logits of this rank's part of the tokens that the head predicts; nil where they are not wanted.
  func run(_ step: HeadStep) -> Tensor? {
    func index(_ values: [Int]) -> Tensor { Tensor(values).to(device: device) }
    let inputs =
      switch step.features {
      case .slots(let slots): features.indexSelect(0, index: index(slots))
      case .rows(let rows): latest!.indexSelect(0, index: index(rows))
      }
    let attention = PagedAttention(step.rows, slots: step.slots, cache: cache, dtype: features.dtype, device: device)
    let context = ForwardContext(
      positions: index(step.positions), attention: HeadAttention(attention, firstLayer: head.firstLayer))
    let hidden = head.hidden(index(step.tokens), features: inputs, context)
    guard step.wantsLogits else { return nil }
    latest = hidden
    return head.logits(hidden)
  }

  // MARK: Memory

  func empty() throws {
    try cache.empty()
    features.emptyStorage()
    latest = nil
  }

  func refill() throws {
    try cache.refill()
    features.refillStorage(bytes: features.byteCount)
  }
}

/// Pairs of token and feature for a draft head.
struct HeadStep: Sendable {
  enum Features: Sendable {
    /// Those of the model's tokens there.
    case slots([Int])
    /// The head's own, of the step before.
    case rows([Int])
  }

  var tokens: [Int] = []
  var features: Features
  /// Of the tokens that the features are of.
  var positions: [Int] = []
  /// Where their KV goes.
  var slots: [Int] = []
  var rows: [AttentionRow] = []
  /// Whether what the head predicts is wanted, and its output by the next step.
  var wantsLogits: Bool
}

/// Numbers the head's layers from 0.
private final class HeadAttention: AttentionBackend {
  private let attention: PagedAttention
  private let firstLayer: Int

  init(_ attention: PagedAttention, firstLayer: Int) { (self.attention, self.firstLayer) = (attention, firstLayer) }

  func attend(
    query: Tensor, key: Tensor, value: Tensor, layer: Int, scale: Double, rule: AttentionRule
  ) -> Tensor {
    attention.attend(query: query, key: key, value: value, layer: layer - firstLayer, scale: scale, rule: rule)
  }
}

extension Tensor {
  /// Copies rows over others; all are read before one is written.
  func moveRows(from sources: Tensor, to destinations: Tensor) {
    // Bytes can be copied by index on every device, e4m3 not.
    let plain = dtype == .float8e4m3 ? viewing(.uint8) : self
    _ = plain.indexCopy_(0, index: destinations, source: plain.indexSelect(0, index: sources))
  }
}
