import Models
import Torch

/// Neighbouring items of a batch whose states go on together.
struct StateGroup {
  /// Of the batch.
  let tokens: Range<Int>
  let sequences: SequenceRows
  /// Where the states before the tokens are, and where those after them go. `[sequences]`, int64
  let before, after: Tensor
  /// Which of the sequences have theirs copied, and where to; nil: none.
  let copies: (rows: Tensor, slots: Tensor)?
  /// The sequences that begin; nil: none does.
  let fresh: Tensor?

  /// Items that run one token by themselves, since longer ones are run in chunks.
  static func of(_ plan: BatchPlan, device: Device) -> [StateGroup] {
    let decoding = plan.items.prefix { $0.tokens.count == 1 }
    var start = 0
    return [decoding, plan.items.dropFirst(decoding.count)].filter { !$0.isEmpty }.map { items in
      let group = StateGroup(items, from: start, device: device)
      start = group.tokens.upperBound
      return group
    }
  }

  private init(_ items: ArraySlice<BatchPlan.Item>, from start: Int, device: Device) {
    let lengths = items.map(\.tokens.count)
    tokens = start..<start + lengths.reduce(0, +)
    sequences = SequenceRows(lengths, device: device)
    func sent(_ numbers: [Int]) -> Tensor { Tensor(numbers).sent(to: device) }
    let uses = items.map { $0.states! }
    (before, after) = (sent(uses.map(\.before)), sent(uses.map(\.own)))
    let beginning = items.enumerated().filter { $0.element.start == 0 }.map(\.offset)
    fresh = beginning.isEmpty ? nil : sent(beginning)
    let copied = uses.indices.filter { uses[$0].copy != nil }
    copies = copied.isEmpty ? nil : (sent(copied), sent(copied.map { uses[$0].copy! }))
  }
}
