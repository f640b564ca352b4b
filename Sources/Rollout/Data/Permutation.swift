/// SplitMix64 (Steele, Lea and Flood, 2014): a small generator whose whole state is one number, so that an order can be
/// made again from its seed on any machine.
struct SplitMix64: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

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
