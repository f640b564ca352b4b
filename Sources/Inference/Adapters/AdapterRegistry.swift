/// The adapters that requests may name, and how many requests use each.
///
/// An adapter has a number of its own from when it is loaded: what was computed with it is nobody else's, though another be
/// loaded under its name. One that is unloaded stays until its last request has ended.
struct AdapterRegistry {
  private struct Entry {
    let id: Int
    let description: AdapterDescription
    var users = 0
    var isLeaving = false
  }

  /// In the order in which they were loaded.
  private var entries: [Entry] = []
  private var loaded = 0

  /// Those that new requests may name.
  var descriptions: [AdapterDescription] { entries.filter { !$0.isLeaving }.map(\.description) }

  private func index(_ name: String) -> Int? { entries.firstIndex { $0.description.name == name && !$0.isLeaving } }

  /// - Throws: `InvalidRequest` where the name is taken.
  func requireFree(_ name: String) throws(InvalidRequest) {
    guard index(name) == nil else {
      throw InvalidRequest("An adapter \(name) is loaded already; unload it first, or choose another name.")
    }
  }

  /// The number of a new adapter.
  mutating func add(_ description: AdapterDescription) -> Int {
    loaded += 1
    entries.append(Entry(id: loaded, description: description))
    return loaded
  }

  func id(of name: String) -> Int? { index(name).map { entries[$0].id } }

  /// A request begins to use an adapter.
  mutating func begin(_ id: Int) { entries[entries.firstIndex { $0.id == id }!].users += 1 }

  /// A request that used an adapter is over.
  /// - Returns: whether the adapter goes with it.
  mutating func end(_ id: Int) -> Bool {
    guard let index = entries.firstIndex(where: { $0.id == id }) else { return false }
    entries[index].users -= 1
    return dropIfUnused(index)
  }

  /// New requests cannot name an adapter any more.
  /// - Returns: its number, and whether it goes now, since no request uses it.
  mutating func unload(_ name: String) throws(InvalidRequest) -> (id: Int, isGone: Bool) {
    guard let index = index(name) else {
      let names = descriptions.isEmpty ? "none" : descriptions.map(\.name).joined(separator: ", ")
      throw InvalidRequest("There is no adapter \(name) to unload; loaded are \(names).")
    }
    entries[index].isLeaving = true
    let id = entries[index].id
    return (id, dropIfUnused(index))
  }

  private mutating func dropIfUnused(_ index: Int) -> Bool {
    guard entries[index].isLeaving, entries[index].users == 0 else { return false }
    entries.remove(at: index)
    return true
  }
}
