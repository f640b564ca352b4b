/// Places of states that a model keeps, by number.
///
/// They are handed out in an order that depends on the calls alone, so that all ranks of an engine hold the same ones.
struct StateSlots: Sendable, Equatable {
  let numbers: Range<Int>
  /// A stack: the one given back last is handed out first.
  private var free: [Int]

  init(_ numbers: Range<Int>) { (self.numbers, free) = (numbers, numbers.reversed()) }

  /// nil: all are held.
  mutating func take() -> Int? { free.popLast() }

  mutating func giveBack(_ slots: [Int]) { free += slots }

  /// - Throws: `PageAccountingError` unless `held` and the free ones are all places, each once.
  func checkConservation(held: [Int]) throws(PageAccountingError) {
    guard (held + free).sorted().elementsEqual(numbers) else {
      throw PageAccountingError(
        description: "Of the places \(numbers) for states \(held) are held and \(free) free; they must be all, each once.")
    }
  }
}

/// The places of states: one for each running request, and those of prefixes in the radix tree.
struct StatePlaces: Sendable, Equatable {
  var running: StateSlots
  var prefixes: StateSlots

  /// nil: the model keeps no states.
  init?(_ configuration: SchedulerConfiguration) {
    guard let count = configuration.stateSlots else { return nil }
    running = StateSlots(0..<configuration.maxRunningRequests)
    prefixes = StateSlots(configuration.maxRunningRequests..<count)
  }
}
