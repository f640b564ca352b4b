/// Drafts what followed the last tokens of a response where they stood before: in its prompt, in the response itself, or
/// in recent responses to others (prompt lookup decoding; SGLang's `NGRAM`).
package final class NGramDrafter: Drafter {
  private let options: NGramOptions
  private var own: [String: NGramIndex] = [:]
  /// Of requests that may share cached prefixes, and so texts.
  private var shared: [CacheNamespace: RecentTexts] = [:]

  package init(_ options: NGramOptions) { self.options = options }

  package func draft(_ requests: [DraftRequest]) -> [DraftTree] { requests.map { DraftTree(chain: draft($0)) } }

  private func draft(_ request: DraftRequest) -> [Int] {
    var index = own.removeValue(forKey: request.id)
      ?? NGramIndex(shortest: options.shortestMatch, longest: options.longestMatch)
    index.append(request.tokens[index.count...])
    let found = index.continuation(of: request.tokens, isOwn: true, count: request.limit)
    own[request.id] = index
    if let found, found.matched == options.longestMatch { return found.tokens }
    let others = shared[request.namespace]?.continuation(of: request.tokens, count: request.limit)
    // Of two equally long matches the request's own text is the likelier guide.
    if let others, others.matched > found?.matched ?? 0 { return others.tokens }
    return found?.tokens ?? []
  }

  package func end(_ id: String, tokens: [Int], promptCount: Int, in namespace: CacheNamespace) {
    own[id] = nil
    guard options.sharedCapacity > 0, tokens.count > promptCount else { return }
    // With the end of the prompt, so that the beginning of a response can be found too.
    let text = tokens[max(0, promptCount - options.longestMatch)...].suffix(options.sharedCapacity)
    shared[namespace, default: RecentTexts(options)].add(text)
    forgetNamespaces(but: namespace)
  }

  /// Keeps the texts of all namespaces within the capacity.
  private func forgetNamespaces(but kept: CacheNamespace) {
    let total = shared.values.reduce(0) { $0 + $1.count }
    if total > 2 * options.sharedCapacity { shared = shared.filter { $0.key == kept } }
  }
}

/// The latest texts, at most so many tokens: two halves, of which the older goes when the newer is full.
private struct RecentTexts {
  private let options: NGramOptions
  private var newer: NGramIndex
  private var older: NGramIndex

  init(_ options: NGramOptions) {
    self.options = options
    newer = NGramIndex(shortest: options.shortestMatch, longest: options.longestMatch)
    older = newer
  }

  var count: Int { newer.count + older.count }

  mutating func add(_ text: ArraySlice<Int>) {
    if newer.count > 0, newer.count + text.count > options.sharedCapacity / 2 {
      older = newer
      newer = NGramIndex(shortest: options.shortestMatch, longest: options.longestMatch)
    }
    newer.append(text)
    newer.separate()
  }

  func continuation(of sequence: [Int], count: Int) -> (matched: Int, tokens: [Int])? {
    let first = newer.continuation(of: sequence, isOwn: false, count: count)
    if let first, first.matched == options.longestMatch { return first }
    let second = older.continuation(of: sequence, isOwn: false, count: count)
    guard let first else { return second }
    return second.map { $0.matched > first.matched ? $0 : first } ?? first
  }
}
