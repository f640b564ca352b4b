/// A box of a tensor's elements: where it begins and how far it goes in each dimension.
///
/// A tensor without dimensions has one box, with one element.
public struct TensorBox: Hashable, Sendable, Codable, CustomStringConvertible {
  public var offsets: [Int]
  public var sizes: [Int]

  /// - Precondition: as many offsets as sizes.
  public init(offsets: [Int], sizes: [Int]) {
    precondition(offsets.count == sizes.count, "offsets \(offsets) and sizes \(sizes)")
    (self.offsets, self.sizes) = (offsets, sizes)
  }

  /// All of a tensor of this shape.
  public init(whole shape: [Int]) {
    self.init(offsets: Array(repeating: 0, count: shape.count), sizes: shape)
  }

  /// How many elements it has.
  public var count: Int { sizes.reduce(1, *) }
  public var isEmpty: Bool { sizes.contains(0) }

  /// As one writes it in Python: `[0:2, 4:8]`.
  public var description: String {
    "[" + zip(offsets, sizes).map { "\($0):\($0 + $1)" }.joined(separator: ", ") + "]"
  }

  /// Whether it lies in a tensor of this shape. An empty box may lie at its end.
  public func fits(_ shape: [Int]) -> Bool {
    sizes.count == shape.count
      && shape.indices.allSatisfy { offsets[$0] >= 0 && sizes[$0] >= 0 && offsets[$0] <= shape[$0] - sizes[$0] }
  }

  /// The elements that both have; nil where there are none.
  public func intersection(_ other: TensorBox) -> TensorBox? {
    var both = self
    for i in sizes.indices {
      let start = max(offsets[i], other.offsets[i])
      let end = min(offsets[i] + sizes[i], other.offsets[i] + other.sizes[i])
      if end <= start { return nil }
      (both.offsets[i], both.sizes[i]) = (start, end - start)
    }
    return both
  }

  /// The elements that the other has not, as boxes that do not overlap.
  func subtracting(_ other: TensorBox) -> [TensorBox] {
    guard let both = intersection(other) else { return isEmpty ? [] : [self] }
    var (rest, parts) = (self, [TensorBox]())
    for i in sizes.indices {
      let end = rest.offsets[i] + rest.sizes[i]
      let bothEnd = both.offsets[i] + both.sizes[i]
      for (start, stop) in [(rest.offsets[i], both.offsets[i]), (bothEnd, end)] where start < stop {
        var part = rest
        (part.offsets[i], part.sizes[i]) = (start, stop - start)
        parts.append(part)
      }
      (rest.offsets[i], rest.sizes[i]) = (both.offsets[i], both.sizes[i])
    }
    return parts
  }
}

extension [TensorBox] {
  /// A part of `box` that none of these boxes has; nil where they have all of it.
  package func hole(in box: TensorBox) -> TensorBox? {
    var missing = box.isEmpty ? [] : [box]
    for part in self {
      if missing.isEmpty { return nil }
      missing = missing.flatMap { $0.subtracting(part) }
    }
    return missing.first
  }

  /// Two of these boxes that have elements in common, by their places; nil where there are none.
  package func overlap() -> (Int, Int)? {
    guard count > 1, let dimensions = first?.sizes.count else { return nil }
    // A sweep along the dimension that is cut most often.
    guard let sweep = (0..<dimensions).max(by: { a, b in cuts(a) < cuts(b) }) else { return (0, 1) }
    let order = indices.filter { !self[$0].isEmpty }.sorted { self[$0].offsets[sweep] < self[$1].offsets[sweep] }
    var open: [Int] = []
    for next in order {
      open.removeAll { self[$0].offsets[sweep] + self[$0].sizes[sweep] <= self[next].offsets[sweep] }
      if let other = open.first(where: { self[$0].intersection(self[next]) != nil }) {
        return (Swift.min(other, next), Swift.max(other, next))
      }
      open.append(next)
    }
    return nil
  }

  private func cuts(_ dimension: Int) -> Int { Set(map { $0.offsets[dimension] }).count }
}
