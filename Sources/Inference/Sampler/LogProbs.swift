import Parallelism
import Torch

/// Which log-probabilities are wanted at a position, besides that of the token there.
package struct LogProbRequest {
  let top: Int
  let tokenIDs: [Int]

  package init(top: Int = 0, tokenIDs: [Int] = []) { (self.top, self.tokenIDs) = (top, tokenIDs) }
}

/// The log-probabilities of one position.
package struct TokenLogProbs {
  package var chosen: TokenLogProb
  package var top: [TokenLogProb] = []
  package var tokenIDs: [TokenLogProb] = []
}

enum LogProbs {
  /// Log-softmax at the tokens of all rows, and at what else each row wants; nil for rows that want nothing.
  /// - Parameters:
  ///   - logits: `[rows, vocabulary]`, fp32, already over the temperature.
  ///   - tokens: `[rows]`, int64, on the device, and the same on the host.
  ///   - parts: in deterministic mode, the ranks' parts of the vocabulary.
  static func compute(
    _ logits: Tensor, tokens: Tensor, _ hostTokens: [Int], _ requests: [LogProbRequest?], parts: [Range<Int>]?
  ) throws -> [TokenLogProbs?] {
    let normalizers = parts.map { vocabularyNormalizers(logits, parts: $0) } ?? [logits.logsumexp([1], keepdim: true)]
    let chosen: [Float] = try normalizers.reduce(logits.gather(1, index: tokens.unsqueeze(1))) { $0 - $1 }
      .values(count: requests.count)
    var result = requests.indices.map { i in
      requests[i].map { _ in TokenLogProbs(chosen: TokenLogProb(token: hostTokens[i], logProb: chosen[i])) }
    }
    try addTop(to: &result, logits, normalizers, requests)
    try addTokenIDs(to: &result, logits, normalizers, requests)
    return result
  }

  private static func addTop(
    to result: inout [TokenLogProbs?], _ logits: Tensor, _ normalizers: [Tensor], _ requests: [LogProbRequest?]
  ) throws {
    let members = requests.indices.filter { requests[$0].map { $0.top > 0 } ?? false }
    guard let most = members.map({ requests[$0]!.top }).max() else { return }
    let index = Tensor(members).to(device: logits.device)
    let (values, order) = logits.indexSelect(0, index: index).topk(most, dim: 1)
    let logProbs: [Float] = try normalizers.reduce(values) { $0 - $1.indexSelect(0, index: index) }
      .values(count: members.count * most)
    let tokens: [Int] = try order.values(count: members.count * most)
    for (row, member) in members.enumerated() {
      result[member]!.top = (row * most..<row * most + requests[member]!.top).map {
        TokenLogProb(token: tokens[$0], logProb: logProbs[$0])
      }
    }
  }

  private static func addTokenIDs(
    to result: inout [TokenLogProbs?], _ logits: Tensor, _ normalizers: [Tensor], _ requests: [LogProbRequest?]
  ) throws {
    let wanted = requests.indices.flatMap { i in (requests[i]?.tokenIDs ?? []).map { (row: i, token: $0) } }
    guard !wanted.isEmpty else { return }
    let rows = Tensor(wanted.map(\.row)).to(device: logits.device)
    let tokens = Tensor(wanted.map(\.token)).to(device: logits.device)
    let found = normalizers.reduce(logits.index([rows, tokens])) { $0 - $1.squeeze(1).indexSelect(0, index: rows) }
    let logProbs: [Float] = try found.values(count: wanted.count)
    for (place, logProb) in zip(wanted, logProbs) {
      result[place.row]!.tokenIDs.append(TokenLogProb(token: place.token, logProb: logProb))
    }
  }
}
