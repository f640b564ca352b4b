import Checkpoints
import Models
import Torch

/// Where a draft head comes from.
enum HeadSource: Sendable {
  case eagle(HuggingFaceFolder)
  case eagle3(HuggingFaceFolder)
  /// The model itself.
  case predictionLayer
}

/// Drafts what a head on top of the model predicts (SGLang's `EAGLE`, `EAGLE3` and `NEXTN`): a chain, or with several branches a tree.
///
/// Each step runs the head once for the likeliest drafts of the step before, and takes the likeliest tokens after each. Of all
/// drafts those of the highest probability, which is the product along the way to them, are kept (Li et al., "EAGLE-2:
/// Faster Inference of Language Models with Dynamic Draft Trees", 2024). Probabilities are those with which the engine would sample the
/// token there, given its noise, penalties and grammar: where head and model agree they draw alike, also at high temperatures.
///
/// Nothing is kept of a request: what the head needs lies in the ranks' caches, in the pages of the request.
final class HeadDrafter: Drafter {
  private let ranks: EngineRanks
  private let steps: Int
  private let branches: Int
  private let draftCount: Int
  private let sampler = Sampler()
  private var pageSize = 0
  /// Where slots of drafts begin.
  private var firstDraftSlot = 0

  /// Loads the head on every rank.
  init(_ source: HeadSource, _ ranks: EngineRanks, _ options: SpeculativeOptions) throws {
    (self.ranks, steps, branches, draftCount) = (ranks, options.deepestDraft, options.branches, options.draftCount)
    try ranks.onEvery { try $0.attachHead(source) }
  }

  var cacheBytesPerToken: Int {
    let runner = ranks.runner
    return HeadRunner.bytesPerToken(runner.head!, dtype: runner.dtype, tensorParallelSize: runner.parallel.tensor.size)
  }

  func prepare(_ configuration: SchedulerConfiguration) throws {
    (pageSize, firstDraftSlot) = (configuration.pageSize, configuration.tokenCapacity)
    let slots = configuration.maxRunningRequests * (1 + branches * (steps - 1))
    try ranks.onEvery { try $0.makeHeadRunner(draftSlots: slots) }
  }

  // MARK: What the model has computed

  func follow(_ computed: [ComputedTokens]) throws {
    var step = HeadStep(features: .slots([]), wantsLogits: false)
    var sources: [Int] = []
    for part in computed {
      // The first token of a request has none before it.
      let positions = max(part.start, 1)..<part.start + part.tokens.count
      guard !positions.isEmpty else { continue }
      var row = AttentionRow(
        tokens: step.tokens.count..<step.tokens.count + positions.count, start: positions.lowerBound - 1, pages: part.pages)
      row.firstPosition = 1
      step.rows.append(row)
      step.tokens += part.tokens.suffix(positions.count)
      step.positions += positions.map { $0 - 1 }
      step.slots += positions.map { slot(of: $0, part.pages) }
      sources += positions.map { slot(of: $0 - 1, part.pages) }
    }
    guard !step.tokens.isEmpty else { return }
    step.features = .slots(sources)
    try ranks.onEvery { [step] in _ = $0.runHead(step) }
  }

  private func slot(of position: Int, _ pages: [Int]) -> Int { pages[position / pageSize] * pageSize + position % pageSize }

  func end(_ id: String, tokens: [Int], promptCount: Int, in namespace: CacheNamespace) {}

  // MARK: Drafts

  func draft(_ requests: [DraftRequest]) throws -> [DraftTree] {
    var growths = requests.map(Growth.init)
    var freeSlot = firstDraftSlot
    for depth in 0..<steps {
      var step = HeadStep(features: .slots([]), wantsLogits: true)
      var sources: [Int] = []
      var samplerRows: [Sampler.Row] = []
      for i in growths.indices where requests[i].limit > depth {
        for node in growths[i].frontier {
          growths[i].nodes[node].place = (row: step.tokens.count, slot: freeSlot)
          freeSlot += 1
          sources.append(
            depth == 0
              ? slot(of: requests[i].tokens.count - 2, requests[i].pages)
              : growths[i].nodes[growths[i].nodes[node].parent].place!.row)
          step.rows.append(row(growths[i], node, requests[i], depth: depth, at: step.tokens.count))
          step.tokens.append(growths[i].nodes[node].token)
          step.positions.append(requests[i].tokens.count - 2 + depth)
          step.slots.append(freeSlot - 1)
          samplerRows.append(growths[i].nodes[node].response.row())
        }
      }
      guard !step.tokens.isEmpty else { break }
      step.features = depth == 0 ? .slots(sources) : .rows(sources)
      let candidates = try candidates(step, samplerRows)
      for i in growths.indices where requests[i].limit > depth { growths[i].grow(candidates, branches: branches) }
    }
    return growths.map { $0.tree(count: draftCount) }
  }

  /// A draft sees the pairs of all tokens of the response but the first, and those of the drafts that lead to it.
  private func row(
    _ growth: Growth, _ node: Int, _ request: DraftRequest, depth: Int, at place: Int
  ) -> AttentionRow {
    var row = AttentionRow(tokens: place..<place + 1, start: request.tokens.count - 2 + depth, pages: request.pages)
    row.firstPosition = 1
    row.tail = growth.way(to: node).map { growth.nodes[$0].place!.slot }
    return row
  }

  /// The likeliest tokens after each row, with the logarithms of their probabilities.
  private func candidates(_ step: HeadStep, _ rows: [Sampler.Row]) throws -> [[(token: Int, logProb: Float)]] {
    let logits = try ranks.onEvery({ [step] in _ = $0.runHead(step) }, first: { $0.runHead(step)! })
    let count = min(branches, logits.size(1))
    let (values, order) = sampler.scores(logits, rows).logSoftmax(1).topk(count, dim: 1)
    let logProbs: [Float] = try HostCopy(values).values(count: rows.count * count)
    let tokens: [Int] = try HostCopy(order).values(count: rows.count * count)
    return rows.indices.map { row in
      (row * count..<(row + 1) * count).map { (tokens[$0], logProbs[$0]) }
    }
  }
}

/// The drafts of one response while they become more.
private struct Growth {
  struct Node {
    let token: Int
    /// −1: the last token of the response, which is the first node.
    let parent: Int
    /// Of the whole way to it.
    let logProb: Float
    /// Of the response with it.
    let response: ResponseState
    /// Its row in the step that ran it, and the slot of its pair.
    var place: (row: Int, slot: Int)?
  }

  var nodes: [Node]
  /// The nodes that the next step runs.
  private(set) var frontier = [0]

  init(_ request: DraftRequest) {
    nodes = [Node(token: request.tokens.last!, parent: -1, logProb: 0, response: request.response)]
  }

  /// The nodes from the first to this one.
  func way(to node: Int) -> [Int] {
    Array(sequence(first: node) { [nodes] in nodes[$0].parent < 0 ? nil : nodes[$0].parent }).reversed()
  }

  /// Adds what may follow the nodes that were run, where the response can go on after it.
  /// - Parameter candidates: of each row of the step.
  mutating func grow(_ candidates: [[(token: Int, logProb: Float)]], branches: Int) {
    let first = nodes.count
    for parent in frontier {
      for candidate in candidates[nodes[parent].place!.row] where candidate.logProb.isFinite {
        var response = nodes[parent].response
        guard response.continues(with: candidate.token) else { continue }
        nodes.append(
          Node(
            token: candidate.token, parent: parent, logProb: nodes[parent].logProb + candidate.logProb, response: response))
      }
    }
    frontier = Array(ranked(first..<nodes.count).prefix(branches))
  }

  /// The likeliest first; of equally likely nodes those that others follow.
  private func ranked(_ places: Range<Int>) -> [Int] {
    places.sorted { (nodes[$1].logProb, $0) < (nodes[$0].logProb, $1) }
  }

  /// The likeliest nodes. No node is likelier than what it follows, so they are a tree.
  func tree(count: Int) -> DraftTree {
    var tree = DraftTree()
    var places = [0: DraftTree.root]
    for node in ranked(1..<nodes.count).prefix(count) {
      places[node] = tree.add(nodes[node].token, after: places[nodes[node].parent]!)
    }
    return tree
  }
}
