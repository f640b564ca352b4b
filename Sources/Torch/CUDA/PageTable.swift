/// Where the rows of a batch have the keys and values of their contexts, for kernels.
public struct PageTable {
  /// `[rows, at least as many as the longest context has]`, int32
  public let pages: Tensor
  /// Tokens of each context, that of the query included; 0: nothing. `[rows]`, int32
  public let lengths: Tensor
  /// The rows in the order in which they are begun. `[rows]`, int32
  public let order: Tensor

  public init(pages: Tensor, lengths: Tensor, order: Tensor) {
    (self.pages, self.lengths, self.order) = (pages, lengths, order)
  }

  public init(_ pages: [[Int]], lengths: [Int], device: Device) {
    self.init(
      pages: Self.rectangle(pages).sent(to: device), lengths: Tensor(lengths.map { Int32($0) }).sent(to: device),
      order: Tensor(Self.order(lengths)).sent(to: device))
  }

  /// Pages as a rectangle, in host memory.
  public static func rectangle(_ pages: [[Int]]) -> Tensor {
    let width = pages.lazy.map(\.count).max() ?? 0
    var table = [Int32](repeating: 0, count: pages.count * width)
    for (row, pages) in pages.enumerated() {
      for (column, page) in pages.enumerated() { table[row * width + column] = Int32(page) }
    }
    return Tensor(table, shape: [pages.count, width])
  }

  /// The longest contexts first: what is begun last, with nothing left to do beside it, should be short.
  public static func order(_ lengths: [Int]) -> [Int32] {
    lengths.indices.sorted { (-lengths[$0], $0) < (-lengths[$1], $1) }.map { Int32($0) }
  }
}
