/// How the backward pass has an activation that is not kept for it: one cheap kernel makes it again, from what is kept anyway,
/// when it is asked for; or the backward pass of the operation that made it does so by the way, for those who wait.
package final class Remaking {
  private let make: () -> Tensor
  /// nil: nobody is kept waiting.
  private var waiting: [(Tensor) -> Void]?

  /// - Parameter isByTheWay: whether the operation's backward pass ends the waiting.
  package init(isByTheWay: Bool = false, _ make: @escaping () -> Tensor) { (self.make, waiting) = (make, isByTheWay ? [] : nil) }

  /// Each call makes the numbers anew.
  package func callAsFunction() -> Tensor { make() }

  fileprivate func wait(_ use: @escaping (Tensor) -> Void) { waiting == nil ? use(make()) : waiting!.append(use) }

  package var isAwaited: Bool { waiting?.isEmpty == false }

  /// Gives those who wait what they wait for.
  package func end(with numbers: Tensor) {
    for use in waiting ?? [] { use(numbers) }
    waiting = []
  }
}

extension Tensor {
  /// What gives these numbers in the backward pass: they are kept for it, or made again. Each call may make them anew.
  ///
  /// An operation whose gradient needs its input captures this instead of the input.
  package var remade: () -> Tensor {
    if let again { return again.callAsFunction }
    let kept = detached()
    return { kept }
  }

  /// The same for what need not be done at once: calls back with the numbers, at the latest in the backward pass of the
  /// operation that made them, which comes after those of all that take them.
  package var awaited: (_ use: @escaping (Tensor) -> Void) -> Void {
    // Without a gradient by them that backward pass does not come.
    if let again, requiresGrad { return again.wait }
    let remade = remade
    return { $0(remade()) }
  }

  package var isRemade: Bool { again != nil }

  /// This tensor, whose numbers are those of another.
  package func remade(as other: Tensor) -> Tensor {
    again = other.again
    return self
  }

  /// The results of one operation, which makes all of them again when one is asked for; each is let go when it is taken.
  package static func remaking(_ results: [Tensor], _ make: @escaping () -> [Tensor]) {
    var made = [Tensor?](repeating: nil, count: results.count)
    for (index, result) in results.enumerated() {
      result.again = Remaking {
        if made[index] == nil { made = make() }
        defer { made[index] = nil }
        return made[index]!
      }
    }
  }
}
