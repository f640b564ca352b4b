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

/// The log-probabilities of all rows of a batch, on their way to the host.
struct LogProbs {
  private struct Top {
    var members: [Int]
    var width: Int
    var logProbs: HostCopy
    var tokens: HostCopy
  }

  private struct Chosen {
    var places: [(row: Int, token: Int)]
    var logProbs: HostCopy
  }

  private let requests: [LogProbRequest?]
  private let ofTokens: HostCopy
  private let top: Top?
  private let chosen: Chosen?

  /// Log-softmax at the tokens of all rows, and at what else each row wants.
  /// - Parameters:
  ///   - logits: `[rows, vocabulary]`, fp32, already over the temperature.
  ///   - tokens: `[rows]`, int64, where the logits are.
  ///   - requests: nil for rows that want nothing.
  ///   - parts: in deterministic mode, the ranks' parts of the vocabulary.
  ///   - dtype: of the logits as the model gave them.
  init(_ logits: Tensor, tokens: Tensor, _ requests: [LogProbRequest?], parts: [Range<Int>]?, dtype: DType) throws {
    self.requests = requests
    let normalizers =
      if let parts {
        Self.hasInvariantKernel(parts, on: logits.device, dtype)
          ? Self.normalizers(logits, tokens) : vocabularyNormalizers(logits, parts: parts)
      } else {
        [logits.logsumexp([1], keepdim: true)]
      }
    ofTokens = try HostCopy(normalizers.reduce(logits.gather(1, index: tokens.unsqueeze(1))) { $0 - $1 })
    top = try Self.top(logits, normalizers, requests, isStable: parts != nil)
    chosen = try Self.chosen(logits, normalizers, requests)
  }

  /// Whether training computes log-probabilities by a kernel that looks at each row by itself.
  static func hasInvariantKernel(_ parts: [Range<Int>], on device: Device, _ dtype: DType) -> Bool {
    parts.count == 1 && device.kind == .cuda && Kernels.run(on: device, dtype)
  }

  /// What that kernel finds instead of `vocabularyNormalizers`, to the bits of `HiddenLogProbs`.
  private static func normalizers(_ logits: Tensor, _ tokens: Tensor) -> [Tensor] {
    let found = Kernels.rowStatistics(logits.contiguous(), targets: tokens)
    return [found[0].unsqueeze(1), found[1].log().unsqueeze(1)]
  }

  /// - Parameter isStable: whether equal ones come in the order of their tokens, which is slower to find.
  private static func top(
    _ logits: Tensor, _ normalizers: [Tensor], _ requests: [LogProbRequest?], isStable: Bool
  ) throws -> Top? {
    let members = requests.indices.filter { requests[$0].map { $0.top > 0 } ?? false }
    guard let width = members.map({ requests[$0]!.top }).max() else { return nil }
    let index = Tensor(members).sent(to: logits.device)
    let rows = logits.indexSelect(0, index: index)
    var (values, order) = isStable ? rows.sort(stable: true, dim: 1, descending: true) : rows.topk(width, dim: 1)
    if isStable { (values, order) = (values.narrow(1, start: 0, length: width), order.narrow(1, start: 0, length: width)) }
    return try Top(
      members: members, width: width,
      logProbs: HostCopy(normalizers.reduce(values) { $0 - $1.indexSelect(0, index: index) }), tokens: HostCopy(order))
  }

  private static func chosen(_ logits: Tensor, _ normalizers: [Tensor], _ requests: [LogProbRequest?]) throws -> Chosen? {
    let places = requests.indices.flatMap { i in (requests[i]?.tokenIDs ?? []).map { (row: i, token: $0) } }
    guard !places.isEmpty else { return nil }
    let rows = Tensor(places.map(\.row)).sent(to: logits.device)
    let tokens = Tensor(places.map(\.token)).sent(to: logits.device)
    let found = normalizers.reduce(logits.index([rows, tokens])) { $0 - $1.squeeze(1).indexSelect(0, index: rows) }
    return try Chosen(places: places, logProbs: HostCopy(found))
  }

  /// Waits for them.
  /// - Parameter tokens: those of `init`, on the host.
  /// - Returns: nil for rows that want nothing.
  func values(_ tokens: [Int]) throws -> [TokenLogProbs?] {
    let logProbs: [Float] = try ofTokens.values(count: requests.count)
    var result = requests.indices.map { i in
      requests[i].map { _ in TokenLogProbs(chosen: TokenLogProb(token: tokens[i], logProb: logProbs[i])) }
    }
    if let top {
      let logProbs: [Float] = try top.logProbs.values(count: top.members.count * top.width)
      let tokens: [Int] = try top.tokens.values(count: top.members.count * top.width)
      for (row, member) in top.members.enumerated() {
        result[member]!.top = (row * top.width..<row * top.width + requests[member]!.top).map {
          TokenLogProb(token: tokens[$0], logProb: logProbs[$0])
        }
      }
    }
    if let chosen {
      let logProbs: [Float] = try chosen.logProbs.values(count: chosen.places.count)
      for (place, logProb) in zip(chosen.places, logProbs) {
        result[place.row]!.tokenIDs.append(TokenLogProb(token: place.token, logProb: logProb))
      }
    }
    return result
  }
}

extension HostCopy {
  /// The elements; an error when an operation before has failed and there are none.
  func values<Element: TensorElement>(count: Int) throws -> [Element] {
    let tensor = try tensor()
    let values: [Element] = tensor.isDefined ? tensor.array() : []
    guard values.count == count else { throw EngineError("An operation of the model failed.") }
    return values
  }
}
