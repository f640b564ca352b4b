/// An engine's drafter, and what is asked of it.
final class Speculator {
  let drafter: any Drafter
  private let draftCount: Int
  private(set) var counts = SpeculationCounts()

  /// Loads a draft model.
  /// - Returns: nil when nothing is to be drafted.
  init?(_ options: EngineOptions, vocabularySize: Int) throws {
    guard let speculative = options.speculative else { return nil }
    try speculative.validate()
    draftCount = speculative.draftCount
    if let make = options.makeDrafter {
      drafter = make()
      return
    }
    switch speculative.algorithm {
    case .ngram(let ngram): drafter = NGramDrafter(ngram)
    case .standalone(let folder): drafter = try ModelDrafter(folder, options, vocabularySize: vocabularySize)
    }
  }

  /// Drafts of decoding requests, by id, cut where a response could not go on.
  func drafts(
    for decoding: [(id: String, tokens: [Int], usefulDrafts: Int)], _ live: (String) -> LiveRequest
  ) throws -> [String: [Int]] {
    let requests = decoding.filter { $0.usefulDrafts > 0 }.map { id, tokens, usefulDrafts in
      let request = live(id)
      return DraftRequest(
        id: id, tokens: tokens, promptCount: request.request.tokens.count, limit: min(draftCount, usefulDrafts),
        namespace: request.namespace, response: request.response)
    }
    guard !requests.isEmpty else { return [:] }
    var result: [String: [Int]] = [:]
    for (request, draft) in zip(requests, try drafter.draft(requests)) {
      var response = request.response
      let useful = draft.prefix(request.limit).prefix { response.continues(with: $0) }
      if !useful.isEmpty { result[request.id] = Array(useful) }
    }
    return result
  }

  func note(proposed: Int, correct: Int) { counts = counts.adding(proposed: proposed, correct: correct) }

  func end(_ request: LiveRequest) {
    drafter.end(
      request.request.id, tokens: request.tokens, promptCount: request.request.tokens.count, in: request.namespace)
  }
}
