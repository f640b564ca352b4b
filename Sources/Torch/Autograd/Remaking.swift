// Activations that are made again in the backward pass, by one cheap kernel, from others that it keeps anyway.
extension Tensor {
  /// What gives these numbers in the backward pass: they are kept for it, or made again. Each call may make them anew.
  ///
  /// An operation whose gradient needs its input captures this instead of the input.
  package var remade: () -> Tensor {
    if let again { return again }
    let kept = detached()
    return { kept }
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
      result.again = {
        if made[index] == nil { made = make() }
        defer { made[index] = nil }
        return made[index]!
      }
    }
  }
}
