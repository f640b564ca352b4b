import Models
import Torch

/// On a CPU, copies of a rank's matrices in the layout that its products want: those of a few rows take half the time with them.
///
/// They are true by this rule. The rank alone writes to its weights, between two forward passes, and whatever writes to them or
/// lets their memory go does so inside `change`, which lets all copies go first. The next forward pass makes them anew, of what
/// the weights are then. (A copy whose weight was written to all the same is left aside: see `PackedMatrix`.)
package final class PackedWeights {
  /// Copies are made where they take no more than this share of the memory that can be had.
  private static let memoryShare = 0.25

  private let parameters: [Parameter]
  /// Whether `make` has run since the weights were last changed.
  private var areMade = false

  /// - Parameter head: what drafts on top of the model.
  package init(_ model: CausalLM, head: (any DraftHead)?) {
    let parallel = model.parallel
    // In deterministic mode products have a form of their own.
    parameters = parallel.device.kind == .cpu && !parallel.isDeterministic
      ? model.matrices + (head?.table?.linearWeights ?? []) : []
  }

  /// Makes the copies, if there are none, before a forward pass.
  package func make() {
    guard !areMade else { return }
    areMade = true
    let byteCount = parameters.reduce(0) { $0 + $1.tensor.byteCount }
    guard byteCount > 0, Double(byteCount) <= Self.memoryShare * Double(HostMemory.available ?? 0) else { return }
    for parameter in parameters { parameter.pack() }
  }

  /// Changes the weights.
  package func change(_ body: () throws -> Void) rethrows {
    for parameter in parameters { parameter.unpack() }
    areMade = false
    try body()
  }
}
