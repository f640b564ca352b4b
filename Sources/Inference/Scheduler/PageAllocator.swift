/// Hands out the pages of a paged KV cache, by number.
///
/// Every page is either free or held by exactly one owner. Pages are handed out in an order that depends on the calls
/// alone, so that the schedulers of all ranks of an engine hold the same pages.
public struct PageAllocator: Sendable, Equatable {
  public let pageCount: Int
  /// A stack: the page freed last is handed out first.
  private var freePages: [Int]
  private var isHeld: [Bool]

  public init(pageCount: Int) {
    self.pageCount = pageCount
    freePages = Array((0..<pageCount).reversed())
    isHeld = Array(repeating: false, count: pageCount)
  }

  public var freeCount: Int { freePages.count }

  /// That many pages, or nil, with nothing taken, when fewer are free.
  public mutating func allocate(_ count: Int) -> [Int]? {
    guard count <= freePages.count else { return nil }
    let pages = Array(freePages.suffix(count).reversed())
    freePages.removeLast(count)
    for page in pages { isHeld[page] = true }
    return pages
  }

  /// Takes pages back. Freeing a page that nobody holds is an error in the caller and stops the process: a page with two
  /// owners would mix the KV of two requests.
  public mutating func free(_ pages: some BidirectionalCollection<Int>) {
    for page in pages.reversed() {
      precondition(isHeld[page], "page \(page) is freed twice")
      isHeld[page] = false
      freePages.append(page)
    }
  }

  /// Checks that `held`, the pages that all owners say they hold, and the free ones are all pages, each once.
  public func checkConservation(held: some Sequence<Int>) throws(PageAccountingError) {
    var owners = Array(repeating: 0, count: pageCount)
    for page in held { owners[page] += 1 }
    for page in freePages { owners[page] += 1 }
    if let page = owners.firstIndex(where: { $0 != 1 }) {
      throw PageAccountingError(
        description: owners[page] == 0
          ? "KV page \(page) of \(pageCount) is neither free nor held by a request: it has leaked."
          : "KV page \(page) of \(pageCount) has \(owners[page]) owners; it may have one.")
    }
  }
}

/// The free pages and the held pages of a KV cache are not all its pages, each once.
public struct PageAccountingError: Error, Equatable, CustomStringConvertible {
  public var description: String
}
