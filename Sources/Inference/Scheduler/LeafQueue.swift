/// Leaves of a tree by when they were last used, the longest unused first.
///
/// A binary heap that knows where each leaf stands, so that one that is used again leaves it in logarithmic time.
struct LeafQueue: Sendable {
  private var heap: [(time: Int, leaf: Int)] = []
  /// Where each leaf stands in `heap`; -1: nowhere.
  private var places: [Int] = []

  var first: Int? { heap.first?.leaf }
  var count: Int { heap.count }

  func contains(_ leaf: Int) -> Bool { leaf < places.count && places[leaf] >= 0 }

  mutating func insert(_ leaf: Int, lastUsed time: Int) {
    precondition(!contains(leaf), "leaf \(leaf) is queued twice")
    if leaf >= places.count { places += repeatElement(-1, count: leaf + 1 - places.count) }
    heap.append((time, leaf))
    rise(from: heap.count - 1)
  }

  /// Takes a leaf out, if it is in.
  mutating func remove(_ leaf: Int) {
    guard contains(leaf) else { return }
    let place = places[leaf]
    places[leaf] = -1
    let last = heap.removeLast()
    guard place < heap.count else { return }
    heap[place] = last
    sink(from: place)
    rise(from: places[last.leaf])
  }

  mutating func removeAll() { (heap, places) = ([], []) }

  /// Leaves of one time are ordered too, so that every rank evicts alike.
  private func isBefore(_ a: Int, _ b: Int) -> Bool { heap[a] < heap[b] }

  private mutating func rise(from start: Int) {
    var place = start
    while place > 0, isBefore(place, (place - 1) / 2) {
      exchange(place, (place - 1) / 2)
      place = (place - 1) / 2
    }
    places[heap[place].leaf] = place
  }

  private mutating func sink(from start: Int) {
    var place = start
    while true {
      var least = place
      for child in [2 * place + 1, 2 * place + 2] where child < heap.count && isBefore(child, least) { least = child }
      if least == place { break }
      exchange(place, least)
      place = least
    }
    places[heap[place].leaf] = place
  }

  private mutating func exchange(_ a: Int, _ b: Int) {
    heap.swapAt(a, b)
    places[heap[a].leaf] = a
    places[heap[b].leaf] = b
  }
}
