/// One forward pass: which tokens of which requests to run, and where their KV goes. Decoding requests come first.
public struct BatchPlan: Sendable, Equatable {
  public struct Item: Sendable, Equatable {
    public var id: String
    /// Position of the first of `tokens` in its request.
    public var start: Int
    /// The request's next tokens, then the drafted ones, which stand for positions one after another where they are a chain.
    public var tokens: [Int]
    /// Of each of the drafts at the end of `tokens` (what may come next, run to see whether it does) the one that it follows,
    /// as in a `DraftTree`.
    public var draftParents: [Int]
    /// The page table of the request: position `p` lives in `pages[p / pageSize]`. Has room for all tokens, up to `end`.
    public var pages: [Int]
    /// Whether to sample the next token, from the logits of the last one that is no draft, and those that would follow
    /// the drafts, from theirs.
    public var samples: Bool
    /// Prompt positions whose log-probabilities to report: that of position `p` comes from the logits of position `p - 1`,
    /// which this item runs. Each wanted position but 0, which nothing precedes, appears once in a request's life.
    public var promptLogProbs: Range<Int>
    /// Set when the only token is not known yet: the row of the batch before that samples it. A 0 stands for it in `tokens`.
    public var sampledToken: Int?
    /// The number of the adapter that it uses; nil: none.
    public var adapter: Int?
    /// Where the model keeps its states of the request; nil: it keeps none.
    public var states: StateUse?

    /// Places of states, by number.
    public struct StateUse: Sendable, Equatable {
      /// The request's own: it gets those after `tokens`.
      public var own: Int
      /// Where those after the tokens before `start` are, where there are any.
      public var before: Int
      /// Where those after `tokens` are kept besides, for requests that begin with all tokens up to `end`.
      public var copy: Int?
    }

    package init(
      id: String, start: Int, tokens: [Int], pages: [Int], samples: Bool, promptLogProbs: Range<Int>,
      sampledToken: Int? = nil, adapter: Int? = nil, states: StateUse? = nil
    ) {
      (self.id, self.start, self.tokens, draftParents, self.pages) = (id, start, tokens, [], pages)
      (self.samples, self.promptLogProbs, self.sampledToken) = (samples, promptLogProbs, sampledToken)
      (self.adapter, self.states) = (adapter, states)
    }

    public var end: Int { start + tokens.count }
    public var draftCount: Int { draftParents.count }
    /// How many of `tokens` are no drafts.
    public var certainCount: Int { tokens.count - draftCount }
    public var drafts: DraftTree { DraftTree(tokens: Array(tokens.suffix(draftCount)), parents: draftParents) }
    /// The position of each of `tokens` in the request; those of drafts that exclude each other may be equal.
    public var positions: [Int] {
      let last = start + certainCount - 1
      return Array(start...last) + drafts.depths.map { last + $0 }
    }
    /// Rows of logits that are sampled from.
    public var sampleCount: Int { samples ? 1 + draftCount : 0 }

    /// Where in the KV cache each of `tokens` is written, one after another: `page * pageSize + offset`.
    public func slots(pageSize: Int) -> [Int] {
      (start..<end).map { pages[$0 / pageSize] * pageSize + $0 % pageSize }
    }
  }

  public var items: [Item]

  package init(items: [Item]) { self.items = items }

  public var tokenCount: Int { items.reduce(0) { $0 + $1.tokens.count } }
}

/// One token that was sampled for an item of a plan that `samples`.
public struct SampledToken: Sendable, Equatable {
  public var token: Int
  /// The stop string that the text of the response contains with this token.
  public var stopString: String?
  /// Whether the response must end with this token, since its grammar has no more.
  public var isLast: Bool

  public init(_ token: Int, stopString: String? = nil, isLast: Bool = false) {
    (self.token, self.stopString, self.isLast) = (token, stopString, isLast)
  }
}

/// What the scheduler decided about a request, for the shell to pass on.
public enum SchedulerAction: Sendable, Equatable {
  /// The request is over; the scheduler has forgotten it.
  case finish(id: String, FinishReason)
  /// Its pages were taken back; it waits, keeps its tokens, and will be computed again.
  case retract(id: String)
}

public struct SchedulerStep: Sendable, Equatable {
  public var actions: [SchedulerAction]
  /// nil: nothing can run now.
  public var plan: BatchPlan?

  public init(actions: [SchedulerAction] = [], plan: BatchPlan? = nil) { (self.actions, self.plan) = (actions, plan) }
}
