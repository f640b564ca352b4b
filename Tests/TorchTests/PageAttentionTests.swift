import Foundation
import TestSupport
import Testing
import Torch

/// Attention over pages on a CPU against plain operators on gathered keys and values.
@Suite struct PageAttentionTests {
  /// softmax(q kᵀ · scale) v in fp32 of one row. query: `[heads, dimension]`; keys, values: `[length, heads, …]`.
  private static func plain(
    _ query: Tensor, _ keys: Tensor, _ values: Tensor, scale: Double, softCap: Double?, sinks: Tensor?
  ) -> Tensor {
    var scores = query.unsqueeze(1).matmul(keys.transpose(0, dim1: 1).transpose(1, dim1: 2)) * scale
    if let softCap { scores = (scores / softCap).tanh() * softCap }
    let length = keys.size(0)
    if let sinks { scores = Tensor.cat([scores, sinks.view([query.size(0), 1, 1])], dim: 2) }
    return scores.softmax(2).narrow(2, start: 0, length: length).matmul(values.transpose(0, dim1: 1)).select(1, index: 0)
  }

  @Test(arguments: 0..<40 as Range<UInt64>, [DType.float32, .bfloat16])
  func equalsPlainOperators(_ seed: UInt64, dtype: DType) {
    var random = SeededGenerator(state: seed)
    let generator = Generator(seed: seed)
    let (sharing, keyValueHeads) = (Int.random(in: 1...9, using: &random), Int.random(in: 1...4, using: &random))
    let heads = sharing * keyValueHeads
    let dimension = 8 * Int.random(in: 1...17, using: &random)
    let valueDimension = Bool.random(using: &random) ? dimension : 8 * Int.random(in: 1...17, using: &random)
    let pageSize = [1, 3, 4, 16, 64].randomElement(using: &random)!
    let lengths = (0..<Int.random(in: 1...12, using: &random)).map { _ in
      [
        1, 2, 7, 8, 9, 31, 32, 33, 64, pageSize, pageSize + 1, 2 * pageSize - 1, Int.random(in: 1...300, using: &random),
      ].randomElement(using: &random)!
    }
    let counts = lengths.map { ($0 + pageSize - 1) / pageSize }
    let pageCount = counts.reduce(0, +) + 1
    var free = (0..<pageCount).shuffled(using: &random)
    let pages = counts.map { count in
      defer { free.removeFirst(count) }
      return Array(free.prefix(count))
    }
    func memory(_ dimension: Int) -> Tensor {
      Tensor.randn([pageCount * pageSize, keyValueHeads, dimension], generator: generator).to(dtype: dtype)
    }
    let (keys, values) = (memory(dimension), memory(valueDimension))
    // What is no row's must not be looked at.
    let unused = Tensor((free[0] * pageSize..<(free[0] + 1) * pageSize).map { $0 })
    _ = keys.indexFill_(0, index: unused, value: Double.nan)
    _ = values.indexFill_(0, index: unused, value: Double.nan)
    // Queries are often a part of what one product gave.
    let query = Tensor.randn([lengths.count, heads + 2, dimension], generator: generator).to(dtype: dtype)
      .narrow(1, start: 1, length: heads)
    let window = Bool.random(using: &random) ? Int.random(in: 1...100, using: &random) : nil
    let softCap = Bool.random(using: &random) ? Double.random(in: 0.5...30, using: &random) : nil
    let sinks = Bool.random(using: &random) ? Tensor.randn([heads], generator: generator) * 3 : nil
    let scale = 1 / Double(dimension).squareRoot()

    let found = PageAttention.attend(
      query: query, keys: keys, values: values, table: PageTable(pages, lengths: lengths, device: .cpu), scale: scale,
      pageSize: pageSize, window: window, softCap: softCap, sinks: sinks)
    #expect(found.shape == [lengths.count, heads, valueDimension] && found.dtype == dtype)
    for (row, length) in lengths.enumerated() {
      let seen = max(0, length - (window ?? length))..<length
      let slots = Tensor(seen.map { pages[row][$0 / pageSize] * pageSize + $0 % pageSize })
      func contexts(_ memory: Tensor) -> Tensor {
        let own = memory.indexSelect(0, index: slots).to(dtype: .float32)
        return own.unsqueeze(2).expand([seen.count, keyValueHeads, sharing, own.size(2)])
          .reshape([seen.count, heads, own.size(2)])
      }
      let wanted = Self.plain(
        query[row..<row + 1].select(0, index: 0).to(dtype: .float32), contexts(keys), contexts(values), scale: scale,
        softCap: softCap, sinks: sinks)
      let tolerance = dtype == .float32 ? 1e-5 : 4e-3
      #expect(
        found.select(0, index: row).to(dtype: .float32).allclose(wanted, rtol: tolerance, atol: tolerance),
        "row \(row) of \(length) tokens")
    }
  }

  /// Rows without a context give zeros; a number that is none stays in its row.
  @Test func rowsStandAlone() {
    let generator = Generator(seed: 1)
    let (keys, values) = (Tensor.randn([8, 1, 8], generator: generator), Tensor.randn([8, 1, 8], generator: generator))
    _ = keys.indexFill_(0, index: Tensor([5]), value: Double.nan)
    let found = PageAttention.attend(
      query: Tensor.randn([3, 2, 8], generator: generator), keys: keys, values: values,
      table: PageTable([[0], [1], [0]], lengths: [4, 2, 0], device: .cpu), scale: 1, pageSize: 4)
    let rows = (0..<3).map { found.select(0, index: $0).abs().max().item() }
    #expect(rows[0].isFinite && rows[1].isNaN && rows[2] == 0)
  }

  @Test func refusesWhatItDoesNotKnow() {
    #expect(PageAttention.takes(.float32, on: .cpu, dimension: 64, valueDimension: 40))
    #expect(!PageAttention.takes(.float32, on: .cpu, dimension: 60, valueDimension: 64))
    #expect(!PageAttention.takes(.float8e4m3, on: .cpu, dimension: 64, valueDimension: 64))
  }
}
