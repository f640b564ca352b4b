import Models
import Torch

/// Neighbouring items of a batch whose states go on together.
struct StateGroup {
  /// Of the batch.
  let tokens: Range<Int>
  let sequences: SequenceRows
  /// `[sequences]`, int64
  let slots: Tensor
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
    slots = Tensor(items.map { $0.stateSlot! }).sent(to: device)
    let beginning = items.enumerated().filter { $0.element.start == 0 }.map(\.offset)
    fresh = beginning.isEmpty ? nil : Tensor(beginning).sent(to: device)
  }
}
