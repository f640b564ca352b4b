import Inference
import Synchronization
import TestSupport
import Testing

/// Drafts by the responses that are wanted: right, wrong, or right as far as chance goes.
final class ScriptedDrafter: Drafter {
  enum Manner: CaseIterable { case right, wrong, random, mixed }

  let manner: Manner
  let wanted: [String: GenerateOutput]
  let vocabulary: Int
  private var random: SeededGenerator
  private let accepted: AcceptedCounts?
  /// Whether other drafts stand beside the script's.
  private let branches: Bool
  private var last: [String: (tokens: Int, draft: Int)] = [:]

  init(
    _ manner: Manner, _ wanted: [GenerateOutput], vocabulary: Int, seed: UInt64 = 0, accepted: AcceptedCounts? = nil, branches: Bool = false
  ) {
    (self.manner, self.vocabulary, self.accepted, self.branches) = (manner, vocabulary, accepted, branches)
    self.wanted = Dictionary(uniqueKeysWithValues: wanted.map { ($0.id, $0) })
    random = SeededGenerator(state: seed)
  }

  func draft(_ requests: [DraftRequest]) -> [DraftTree] {
    requests.map { branches ? tree(around: draft($0)) : DraftTree(chain: draft($0)) }
  }

  /// The chain among other drafts, before and after its own.
  private func tree(around chain: [Int]) -> DraftTree {
    var tree = DraftTree()
    var last = DraftTree.root
    func addOthers() {
      for _ in 0..<Int.random(in: 0...2, using: &random) {
        let (parent, token) = (Int.random(in: -1..<tree.count, using: &random), Int.random(in: 0..<vocabulary, using: &random))
        if tree.child(of: parent, token: token) == nil { tree.add(token, after: parent) }
      }
    }
    for token in chain {
      addOthers()
      last = tree.child(of: last, token: token) ?? tree.add(token, after: last)
    }
    addOthers()
    return tree
  }

  private func draft(_ request: DraftRequest) -> [Int] {
    let response = wanted[request.id]!.outputTokens
    let done = request.tokens.count - request.promptCount
    #expect(Array(request.tokens[request.promptCount...]) == Array(response.prefix(done)) && request.limit > 0)
    if let last = last[request.id] { accepted?.add(min(last.draft, request.tokens.count - last.tokens - 1)) }
    let right = response.dropFirst(done).prefix(request.limit)
    let draft: [Int]
    switch manner {
    case .right: draft = Array(right)
    case .wrong: draft = right.map { ($0 + 1) % vocabulary }
    case .random: draft = (0...request.limit).map { _ in Int.random(in: 0..<vocabulary, using: &random) }
    case .mixed:
      let count = Int.random(in: 0...right.count, using: &random)
      let more = Int.random(in: 0...request.limit, using: &random)
      draft = right.prefix(count) + (0..<more).map { _ in Int.random(in: 0..<vocabulary, using: &random) }
    }
    last[request.id] = (request.tokens.count, draft.count)
    return draft
  }

  func end(_ id: String, tokens: [Int], promptCount: Int, in namespace: CacheNamespace) {
    last[id] = nil
    #expect(wanted[id]!.outputTokens.starts(with: tokens[promptCount...]))
  }

}

/// How often how many drafts of a step were right.
final class AcceptedCounts: Sendable {
  private let counts = Mutex<[Int: Int]>([:])

  func add(_ count: Int) { counts.withLock { $0[count, default: 0] += 1 } }
  subscript(count: Int) -> Int { counts.withLock { $0[count, default: 0] } }
}
