import Inference
import Testing

/// Follows every token of every request beside the scheduler, knowing nothing of how it decides, and keeps what a KV cache
/// would hold: each slot the sequence up to its position and the weights that computed it.
struct KVLedger {
  /// What the KV of one position is a function of: the sequence up to it, by an interned number, and the weights.
  private struct Content: Equatable {
    var sequence: Int
    var weights: Int
  }

  private struct Step: Hashable {
    var before: Int
    var token: Int
  }

  private struct Life {
    var request: GenerateRequest
    var tokens: [Int]
    /// Of the positions that are computed.
    var contents: [Content] = []
    var isAdmitted = false
    var nextLogProb: Int
    /// What routed experts would be reported of, from the wanted position on.
    var experts: [Content] = []
  }

  let limits: SchedulerConfiguration
  private var lives: [String: Life] = [:]
  private(set) var finished: [String: FinishReason] = [:]
  private(set) var retractions = 0
  /// Positions of prompts that were read from the cache.
  private(set) var reused = 0
  private(set) var correctDrafts = 0
  private var weights = 0
  private var slots: [Content?]
  /// Of each place, what the states there are a function of.
  private var states: [[Content]?]
  private var sequences: [Step: Int] = [:]
  private var namespaces: [[String?]: Int] = [:]

  init(_ limits: SchedulerConfiguration) {
    self.limits = limits
    slots = Array(repeating: nil, count: limits.tokenCapacity)
    states = Array(repeating: nil, count: limits.stateSlots ?? 0)
  }

  mutating func add(_ request: GenerateRequest) {
    let wantsLogProbs = request.returnLogProbs && request.logProbStart != nil
    lives[request.id] = Life(
      request: request, tokens: request.tokens,
      nextLogProb: wantsLogProbs ? max(1, request.logProbStart!) : request.tokens.count)
  }

  mutating func changeWeights() { weights += 1 }

  /// Numbers of the sequences that end at each position.
  private mutating func sequenceNumbers(_ life: Life) -> [Int] {
    let space = [life.request.extraKey, life.request.cacheSalt]
    var number = namespaces[space] ?? -1 - namespaces.count
    namespaces[space] = number
    return life.tokens.map { token in
      number = self.number(Step(before: number, token: token))
      return number
    }
  }

  private mutating func sequenceNumbers(_ drafts: DraftTree, after number: Int) -> [Int] {
    var numbers: [Int] = []
    for (token, parent) in zip(drafts.tokens, drafts.parents) {
      numbers.append(self.number(Step(before: parent < 0 ? number : numbers[parent], token: token)))
    }
    return numbers
  }

  private mutating func number(_ step: Step) -> Int {
    let number = sequences[step] ?? sequences.count
    sequences[step] = number
    return number
  }

  private func slot(_ item: BatchPlan.Item, _ position: Int) -> Int {
    item.pages[position / limits.pageSize] * limits.pageSize + position % limits.pageSize
  }

  /// Checks a plan and applies it; `sample` gives the token of a position. Drafts are kept while they are what is sampled.
  mutating func run(_ plan: BatchPlan, sample: (BatchPlan.Item) -> Int) -> [[SampledToken]] {
    #expect(!plan.items.isEmpty && plan.tokenCount <= limits.maxBatchTokens)
    #expect(plan.items.count <= limits.maxRunningRequests)
    #expect(Set(plan.items.map(\.id)).count == plan.items.count)
    let written = plan.items.flatMap { $0.slots(pageSize: limits.pageSize) }
    #expect(Set(written).count == written.count, "a slot with two writers")
    for item in plan.items {
      var life = lives[item.id]!
      let end = item.end - item.draftCount
      #expect(finished[item.id] == nil && end > item.start && end <= life.tokens.count)
      #expect(item.tokens == Array(life.tokens[item.start..<end]) + item.drafts.tokens && item.samples == samples(item, life))
      #expect(item.draftCount == 0 || item.samples && item.tokens.count == 1 + item.draftCount)
      #expect(item.pages.count == (item.end + limits.pageSize - 1) / limits.pageSize)
      let numbers = sequenceNumbers(life)
      if !life.isAdmitted {
        #expect(item.start % limits.pageSize == 0)
        life.contents = numbers[..<item.start].map { Content(sequence: $0, weights: weights) }
        reused += min(item.start, life.request.tokens.count)
      }
      #expect(item.start == life.contents.count, "every position once, in order")
      life.isAdmitted = true
      let drafted = sequenceNumbers(item.drafts, after: numbers[end - 1])
      let new = (numbers[item.start..<end] + drafted).map { Content(sequence: $0, weights: weights) }
      for (position, content) in zip(item.start..<item.end, new) { slots[slot(item, position)] = content }
      life.contents += new
      if !item.promptLogProbs.isEmpty {
        #expect(item.promptLogProbs.lowerBound == life.nextLogProb && item.promptLogProbs.lowerBound > item.start)
        #expect(item.promptLogProbs.upperBound <= min(item.end + 1, life.request.tokens.count))
        life.nextLogProb = item.promptLogProbs.upperBound
      }
      if let start = life.request.routedExpertsStart, item.end > start {
        #expect(item.start - start <= life.experts.count, "experts of some positions are missing")
        life.experts.removeSubrange(max(0, item.start - start)...)
        life.experts += life.contents[(start + life.experts.count)..<end]
        #expect(life.experts == Array(life.contents[start..<end]), "the experts reported are not those of the KV")
      }
      lives[item.id] = life
    }
    for item in plan.items {
      let found = (0..<item.end).map { slots[slot(item, $0)] }
      #expect(found == lives[item.id]!.contents, "\(item.id) reads the KV of another sequence or of other weights")
    }
    for item in plan.items where item.start > 0 {
      guard let use = item.states else { continue }
      #expect(
        states[use.before] == Array(lives[item.id]!.contents[..<item.start]), "\(item.id) goes on from the states of another")
    }
    let kept = plan.items.flatMap { item in [item.states?.own, item.states?.copy].compactMap { $0 } }
    #expect(Set(kept).count == kept.count && plan.items.allSatisfy { ($0.states != nil) == (limits.stateSlots != nil) })
    for item in plan.items {
      for slot in [item.states?.own, item.states?.copy].compactMap({ $0 }) { states[slot] = lives[item.id]!.contents }
    }
    for item in plan.items { lives[item.id]!.contents.removeLast(item.draftCount) }
    return plan.items.filter(\.samples).map { verify($0, sample) }
  }

  private mutating func verify(_ item: BatchPlan.Item, _ sample: (BatchPlan.Item) -> Int) -> [SampledToken] {
    var life = lives[item.id]!
    defer { lives[item.id] = life }
    var sampled: [SampledToken] = []
    var place: Int? = DraftTree.root
    while let node = place {
      let token = sample(item)
      life.tokens.append(token)
      sampled.append(SampledToken(token))
      place = item.drafts.child(of: node, token: token)
      guard let place else { break }
      correctDrafts += 1
      // What was computed of the draft comes to where it belongs.
      let content = slots[slot(item, item.start + item.certainCount + place)]!
      slots[slot(item, life.contents.count)] = content
      life.contents.append(content)
      if let start = life.request.routedExpertsStart, life.contents.count > start { life.experts.append(life.contents.last!) }
    }
    return sampled
  }

  private func samples(_ item: BatchPlan.Item, _ life: Life) -> Bool {
    item.end - item.draftCount == life.tokens.count && life.request.sampling.maxNewTokens != 0
  }

  /// The batch failed halfway: its slots hold nothing of use.
  mutating func spoil(_ plan: BatchPlan) {
    for slot in plan.items.flatMap({ $0.slots(pageSize: limits.pageSize) }) { slots[slot] = nil }
    for use in plan.items.compactMap(\.states) { for slot in [use.own, use.copy].compactMap({ $0 }) { states[slot] = nil } }
  }

  mutating func apply(_ actions: [SchedulerAction]) {
    for action in actions {
      switch action {
      case .retract(let id):
        (lives[id]!.contents, lives[id]!.isAdmitted) = ([], false)
        retractions += 1
      case .finish(let id, let reason):
        #expect(finished[id] == nil, "\(id) finished twice")
        finished[id] = reason
        if case .abort = reason { continue }
        #expect(lives[id]!.nextLogProb == lives[id]!.request.tokens.count, "\(id) lacks log-probs of its prompt")
      }
    }
  }
}
