/// The places of states that models keep of requests which run, by number.
///
/// They are handed out in an order that depends on the calls alone, so that all ranks of an engine hold the same ones.
struct StateSlots: Sendable, Equatable {
  let count: Int
  /// A stack: the one given back last is handed out first.
  private var free: [Int]

  init(count: Int) {
    self.count = count
    free = Array((0..<count).reversed())
  }

  mutating func take() -> Int {
    precondition(!free.isEmpty, "more requests run than there are places for states")
    return free.removeLast()
  }

  mutating func giveBack(_ slot: Int) { free.append(slot) }

  /// - Throws: `PageAccountingError` unless `held` and the free ones are all places, each once.
  func checkConservation(held: [Int]) throws(PageAccountingError) {
    guard (held + free).sorted().elementsEqual(0..<count) else {
      throw PageAccountingError(
        description: "Of \(count) places for states \(held.count) are held and \(free.count) free; they must be all, each once.")
    }
  }
}
