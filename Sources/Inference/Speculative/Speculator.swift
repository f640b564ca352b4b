/// An engine's drafter, and what is asked of it.
final class Speculator {
  let drafter: any Drafter
  private let options: SpeculativeOptions
  private(set) var counts = SpeculationCounts()

  /// Loads a draft model, or a head on every rank.
  /// - Returns: nil when nothing is to be drafted.
  init?(_ options: EngineOptions, _ ranks: EngineRanks) throws {
    guard let speculative = options.speculative else { return nil }
    self.options = speculative
    if let make = options.makeDrafter {
      drafter = make()
      return
    }
    switch speculative.algorithm {
    case .ngram(let ngram): drafter = NGramDrafter(ngram)
    case .standalone(let folder):
      drafter = try ModelDrafter(folder, options, vocabularySize: ranks.runner.model.configuration.vocabularySize)
    case .eagle(let folder): drafter = try HeadDrafter(.eagle(folder), ranks, speculative)
    case .eagle3(let folder): drafter = try HeadDrafter(.eagle3(folder), ranks, speculative)
    case .nextN: drafter = try HeadDrafter(.predictionLayer, ranks, speculative)
    }
  }

  /// Drafts of decoding requests, by id, cut where a response could not go on.
  func drafts(
    for decoding: [(id: String, tokens: [Int], pages: [Int], usefulDrafts: Int)], _ live: (String) -> LiveRequest
  ) throws -> [String: DraftTree] {
    let requests = decoding.filter { $0.usefulDrafts > 0 }.map { id, tokens, pages, usefulDrafts in
      let request = live(id)
      return DraftRequest(
        id: id, tokens: tokens, promptCount: request.request.tokens.count, pages: pages,
        limit: min(options.deepestDraft, usefulDrafts), namespace: request.namespace, response: request.response)
    }
    guard !requests.isEmpty else { return [:] }
    var result: [String: DraftTree] = [:]
    for (request, draft) in zip(requests, try drafter.draft(requests)) {
      let useful = useful(draft, of: request)
      if !useful.isEmpty { result[request.id] = useful }
    }
    return result
  }

  /// The drafts after which the response could go on.
  private func useful(_ draft: DraftTree, of request: DraftRequest) -> DraftTree {
    let depths = draft.depths
    var responses: [Int: ResponseState] = [DraftTree.root: request.response]
    return draft.filter { node in
      var response = responses[draft.parents[node]]!
      guard depths[node] <= request.limit, response.continues(with: draft.tokens[node]) else { return false }
      responses[node] = response
      return true
    }.prefix(options.draftCount)
  }

  func note(proposed: Int, correct: Int) { counts = counts.adding(proposed: proposed, correct: correct) }

  func end(_ request: LiveRequest) {
    drafter.end(
      request.request.id, tokens: request.tokens, promptCount: request.request.tokens.count, in: request.namespace)
  }
}
