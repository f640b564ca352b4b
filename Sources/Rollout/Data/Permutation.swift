import Torch

extension SplitMix64 {
  /// Evenly distributed in 0 ..< bound: the high half of a product, and a new draw where that would favour some values
  /// (Lemire, 2019).
  mutating func next(below bound: UInt64) -> UInt64 {
    var product = next().multipliedFullWidth(by: bound)
    let threshold = (0 &- bound) % bound
    while product.low < threshold { product = next().multipliedFullWidth(by: bound) }
    return product.high
  }
}

/// An order of 0 ..< count by Fisher and Yates' shuffle, a function of the seed alone. Written out here because the standard
/// library does not promise that its shuffle stays the same.
package func permutation(of count: Int, seed: Int) -> [Int] {
  var generator = SplitMix64(seed: UInt64(bitPattern: Int64(seed)))
  var order = Array(0..<count)
  for last in stride(from: count - 1, to: 0, by: -1) {
    order.swapAt(last, Int(generator.next(below: UInt64(last + 1))))
  }
  return order
}
