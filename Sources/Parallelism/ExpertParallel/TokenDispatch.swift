import Torch

/// The way of tokens to the ranks that hold their experts, and back (Megatron-Core's all-to-all dispatch). No token is
/// dropped, and a rank or expert may get any number of them, none included.
///
/// A token becomes one row for each of its experts. Rows travel by all-to-all between the ranks that hold different
/// experts; ranks that hold different parts of the same experts then all get each other's rows, and on the way back sum
/// their partial results. Every rank of both groups must make and use its dispatch at the same points.
public final class TokenDispatch {
  /// The rows that arrive here, by this rank's experts.
  public let groups: RowGroups
  private let parallel: ParallelContext
  private let expertsPerToken: Int
  /// `[T · expertsPerToken]`, int64: which (token, choice) stands at each place when rows stand by experts, and the
  /// place of each (token, choice).
  private let order: Tensor
  private let place: Tensor
  /// nil where all experts are here, whole.
  private let exchange: RowExchange?

  /// - Parameter experts: of each token on this rank, `[T, expertsPerToken]`, int64.
  public init(_ experts: Tensor, expertCount: Int, parallel: ParallelContext) {
    self.parallel = parallel
    // Sizes of failed operations are not to be divided by.
    expertsPerToken = max(experts.size(1), 1)
    let isSpread = parallel.expert.size * parallel.expertTensor.size > 1
    (order, place, groups, exchange) = withoutGradients {
      let flat = experts.flatten()
      // Stable: each expert sees its tokens in their order.
      let order = flat.sort(stable: true).indices
      let place = order.zerosLike().scatter_(0, index: order, src: .arange(flat.count, device: flat.device))
      let counts = Tensor.zeros([expertCount], dtype: .int64, device: flat.device)
        .scatterAdd_(0, index: flat, src: .ones([flat.count], dtype: .int64, device: flat.device))
      let isMeta = flat.device.kind == .meta
      let exchange = !isSpread ? nil
        : isMeta ? RowExchange(evenly: flat.count, expertCount: expertCount, parallel: parallel)
        : RowExchange(counts, expertCount: expertCount, parallel: parallel)
      return (order, place, exchange?.groups ?? RowGroups(counts), exchange)
    }
  }

  /// `[T, width]` → rows for this rank's experts, `[rows, width]`, as `groups` says.
  public func dispatched(_ tokens: Tensor) -> Tensor {
    let (order, place, choices) = (order, place, expertsPerToken)
    let rows = Tensor.function(
      "CopyToExperts", input: tokens, forward: { tokens.detached().indexSelect(0, index: order.floorDivide(choices)) }
    ) { $0.indexSelect(0, index: place).view([$0.size(0) / choices, choices, $0.size(1)]).sum([1]) }
    guard let exchange else { return rows }
    return rows.exchangedRows(parallel.expert, sent: exchange.sent, received: exchange.received)
      .gatheredRows(parallel.expertTensor, counts: exchange.gathered)
      .permuted(exchange.byExpert, inverse: exchange.bySource)
  }

  /// What the experts made of the rows, back at their tokens: `[T, expertsPerToken, width]`.
  public func collected(_ rows: Tensor) -> Tensor {
    var rows = rows
    if let exchange {
      rows = rows.permuted(exchange.bySource, inverse: exchange.byExpert)
        .scatteredRows(parallel.expertTensor, counts: exchange.gathered, inOrder: parallel.isDeterministic)
        .exchangedRows(parallel.expert, sent: exchange.received, received: exchange.sent)
    }
    return rows.permuted(place, inverse: order)
      .view([order.size(0) / expertsPerToken, expertsPerToken, rows.size(1)])
  }
}

/// How many rows go where. The ranks tell each other before rows travel.
private struct RowExchange {
  /// Rows to each rank that holds other experts, and from each.
  let sent: [Int]
  let received: [Int]
  /// Rows that each rank has which holds another part of these experts.
  let gathered: [Int]
  let groups: RowGroups
  /// `[rows]`, int64: which of the arrived rows stands at each place when they stand by experts, and the other way round.
  let byExpert: Tensor
  let bySource: Tensor

  /// - Parameter counts: this rank's rows for each expert of all, `[experts]`.
  init(_ counts: Tensor, expertCount: Int, parallel: ParallelContext) {
    let (ranks, parts) = (parallel.expert.size, parallel.expertTensor.size)
    let device = counts.device
    let local = expertCount / ranks
    let arriving = Tensor.empty([expertCount], dtype: .int64, device: device)
    parallel.expert.allToAll(counts, into: arriving)
    let all = arriving.gathered(from: parallel.expertTensor)
    let host = Tensor.cat([counts, all]).hostCounts(expertCount * (1 + parts))
    let own = host.prefix(expertCount)
    // A chunk: the rows of one expert that come from one source, a rank over one part's rank.
    let chunks = Array(host.dropFirst(expertCount))
    func sum(_ chunks: some Collection<Int>) -> Int { chunks.reduce(0, +) }
    sent = (0..<ranks).map { sum(own[$0 * local..<($0 + 1) * local]) }
    let fromSource = (0..<parts * ranks).map { sum(chunks[$0 * local..<($0 + 1) * local]) }
    received = Array(fromSource[parallel.expertTensor.rank * ranks..<(parallel.expertTensor.rank + 1) * ranks])
    gathered = (0..<parts).map { sum(fromSource[$0 * ranks..<($0 + 1) * ranks]) }

    var starts: [Int] = []
    var total = 0
    for chunk in chunks {
      starts.append(total)
      total += chunk
    }
    var byExpert: [Int] = []
    byExpert.reserveCapacity(total)
    var counts = [Int](repeating: 0, count: local)
    for expert in 0..<local {
      for chunk in stride(from: expert, to: chunks.count, by: local) {
        byExpert += starts[chunk]..<starts[chunk] + chunks[chunk]
        counts[expert] += chunks[chunk]
      }
    }
    var bySource = [Int](repeating: 0, count: total)
    for (place, row) in byExpert.enumerated() { bySource[row] = place }
    (self.byExpert, self.bySource) = (Tensor(byExpert).to(device: device), Tensor(bySource).to(device: device))
    groups = RowGroups(Tensor(counts).to(device: device))
  }

  /// On the meta device, where nobody knows: as if every expert had equally many rows.
  init(evenly rowCount: Int, expertCount: Int, parallel: ParallelContext) {
    let ranks = parallel.expert.size
    func rows(_ rank: Int) -> Int { (rank + 1) * rowCount / ranks - rank * rowCount / ranks }
    sent = (0..<ranks).map(rows)
    received = Array(repeating: rows(parallel.expert.rank), count: ranks)
    gathered = Array(repeating: rows(parallel.expert.rank) * ranks, count: parallel.expertTensor.size)
    groups = RowGroups(.empty([expertCount / ranks], dtype: .int64, device: .meta))
    byExpert = .empty([gathered.reduce(0, +)], dtype: .int64, device: .meta)
    bySource = byExpert.zerosLike()
  }
}

extension Tensor {
  /// Rows in another order; the gradient goes back by the inverse order, which unlike an addition at places is the same
  /// in every run.
  fileprivate func permuted(_ order: Tensor, inverse: Tensor) -> Tensor {
    Tensor.function("PermuteRows", input: self, forward: { detached().indexSelect(0, index: order) }) {
      $0.indexSelect(0, index: inverse)
    }
  }
}
