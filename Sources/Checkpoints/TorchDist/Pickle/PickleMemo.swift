/// The values of a pickle that it refers back to, by number: all numbers up to a count, in pickles as Python writes them.
struct PickleMemo {
  private var first: [Int] = []
  /// Numbers beyond those, where some are left out.
  private var others: [Int: Int] = [:]

  var count: Int { first.count + others.count }

  subscript(index: Int) -> Int? {
    get { index < first.count ? first[index] : others[index] }
    set {
      guard let newValue else { return }
      if index < first.count {
        first[index] = newValue
      } else if index == first.count, others.isEmpty {
        first.append(newValue)
      } else {
        others[index] = newValue
      }
    }
  }
}
