import Torch

/// What a recorded step is told of its rows besides tokens and pages: in one piece of memory, so that it comes to the device at once.
struct StepInputs {
  /// `[rows]`, int64
  let positions: Tensor
  let keys: Tensor
  /// `[rows]`, int32
  let lengths: Tensor
  let order: Tensor
  /// `[rows]`, fp32
  let temperatures: Tensor
  /// `[rows]`, bool
  let isGreedy: Tensor
  private let memory: Tensor
  private let rows: Int

  private static let dtypes: [DType] = [.int64, .int64, .int32, .int32, .float32, .bool]

  static func byteCount(rows: Int) -> Int { (dtypes.reduce(0) { $0 + $1.size } * rows + 3) / 4 * 4 }

  /// - Parameter memory: at least `byteCount` bytes, on the device, of which it takes the first.
  init(_ memory: Tensor, rows: Int) {
    self.rows = rows
    self.memory = memory.narrow(0, start: 0, length: Self.byteCount(rows: rows))
    var start = 0
    let parts = Self.dtypes.map { dtype in
      defer { start += dtype.size * rows }
      return memory.narrow(0, start: start, length: dtype.size * rows).viewing(dtype)
    }
    (positions, keys, lengths, order, temperatures, isGreedy) = (parts[0], parts[1], parts[2], parts[3], parts[4], parts[5])
  }

  /// Queues the copy of a plan's; rows past the plan's have no context.
  /// - Parameters:
  ///   - positions: nil: the tokens' places.
  ///   - sampling: nil: what is sampled is of no matter.
  func send(_ plan: BatchPlan, positions: [Int]?, _ sampling: Sampler.PlainRows?) {
    let rest = rows - plan.items.count
    let ends = plan.items.map(\.end) + repeatElement(0, count: rest)
    let host = Tensor.emptyPinned([memory.size(0)], dtype: .uint8)
    host.withMutableBytes { bytes in
      var place = 0
      func put<Element>(_ values: [Element]?, or none: Element) {
        let values = (values ?? []) + repeatElement(none, count: rows - (values?.count ?? 0))
        values.withUnsafeBytes { source in
          UnsafeMutableRawBufferPointer(rebasing: bytes[place..<place + source.count]).copyMemory(from: source)
          place += source.count
        }
      }
      put(positions ?? plan.items.map(\.start), or: 0)
      put(sampling?.keys, or: 0)
      put(ends.map { Int32($0) }, or: 0)
      put(PageTable.order(ends), or: 0)
      put(sampling?.temperatures, or: 1)
      put(sampling?.isGreedy, or: true)
    }
    Kernels.transfer(host, to: memory)
  }
}
