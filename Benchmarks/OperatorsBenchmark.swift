import COperators
import Torch

/// What a call of an operator costs from Swift, beside the same call from C++, in one process.
public enum OperatorsBenchmark {
  public struct Row: Sendable, Encodable {
    public let name: String
    /// Medians over the rounds.
    public let swiftNanoseconds: Double
    public let cppNanoseconds: Double
    /// The median of the rounds' ratios: the two sides of a round run right after one another.
    public let ratio: Double
  }

  /// The most that Swift may cost, as a multiple of C++.
  public static let limit = 1.3

  /// Times every operator.
  /// - Parameter rounds: how often the two sides take turns; each turn lasts about a millisecond.
  public static func run(rounds: Int = 200) throws -> [Row] {
    let threads = Runtime.threadCount
    Runtime.threadCount = 1
    defer { Runtime.threadCount = threads }
    return try catchingTorchErrors {
      try withoutGradients {
        try operators().enumerated().map { try measure(Int32($0.offset), $0.element, rounds: rounds) }
      }
    }
  }

  /// The rows as text, one a line, and the worst ratio beside the limit.
  public static func table(_ rows: [Row]) -> String {
    func cell(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
    func line(_ name: String, _ cells: [String]) -> String {
      name + String(repeating: " ", count: max(1, 28 - name.count)) + cells.map { cell($0, 12) }.joined()
    }
    let header = line("operator", ["Swift ns", "C++ ns", "ratio"])
    let body = rows.map { row in
      let ratio = (row.ratio * 100).rounded() / 100
      return line(row.name, ["\(Int(row.swiftNanoseconds))", "\(Int(row.cppNanoseconds))", "\(ratio)"])
    }
    let worst = rows.map(\.ratio).max() ?? 1
    let verdict = "worst ratio \((worst * 100).rounded() / 100), allowed \(limit)"
    return ([header] + body + [verdict]).joined(separator: "\n")
  }

  private static func measure(
    _ index: Int32, _ operation: (name: String, run: (Int) -> Void), rounds: Int
  ) throws -> Row {
    func cpp(_ count: Int) throws -> Double {
      let time = cb_nanoseconds(index, Int64(count))
      guard time >= 0 else { throw TorchError("the C++ side of '\(operation.name)' failed") }
      return Double(time) / Double(count)
    }
    func swift(_ count: Int) -> Double {
      let time = ContinuousClock().measure { operation.run(count) }
      return time / .nanoseconds(1) / Double(count)
    }
    let count = max(10, Int(1e6 / min(try cpp(50), try cpp(50))))
    _ = swift(count)
    var times: [(swift: Double, cpp: Double)] = []
    for round in 0..<rounds {
      // Neither side is always the first.
      if round.isMultiple(of: 2) {
        let first = swift(count)
        times.append((first, try cpp(count)))
      } else {
        let first = try cpp(count)
        times.append((swift(count), first))
      }
    }
    return Row(
      name: operation.name, swiftNanoseconds: median(times.map(\.swift)), cppNanoseconds: median(times.map(\.cpp)),
      ratio: median(times.map { $0.swift / $0.cpp }))
  }

  private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

  /// The same calls as in COperators/operators.cpp, in the same order.
  private static func operators() -> [(name: String, run: (Int) -> Void)] {
    let a = Tensor.ones([4, 16])
    let b = Tensor.ones([4, 16])
    let square = Tensor.ones([64, 64])
    let rows = Tensor.ones([64, 32])
    let index = Tensor.arange(8)
    let x = Tensor.ones([8, 64])
    let norm = Tensor.ones([64])
    let up = Tensor.ones([256, 64])
    let down = Tensor.ones([64, 128])
    return [
      ("add [4,16]", { for _ in 0..<$0 { _ = a + b } }),
      ("mul [4,16] by a number", { for _ in 0..<$0 { _ = a * 2.0 } }),
      ("add_ [4,16]", { for _ in 0..<$0 { a.add_(b) } }),
      ("mm [64,64]", { for _ in 0..<$0 { _ = square.mm(square) } }),
      ("view", { for _ in 0..<$0 { _ = a.view([16, 4]) } }),
      ("transpose", { for _ in 0..<$0 { _ = a.transpose(0, dim1: 1) } }),
      ("silu [4,16]", { for _ in 0..<$0 { _ = a.silu() } }),
      ("index_select 8 of [64,32]", { for _ in 0..<$0 { _ = rows.indexSelect(0, index: index) } }),
      ("cat 2 of [4,16]", { for _ in 0..<$0 { _ = Tensor.cat([a, b]) } }),
      ("MLP block [8,64]", {
        for _ in 0..<$0 {
          let halves = x.rmsNorm([64], weight: norm, eps: 1e-6).linear(up).chunk(2, dim: -1)
          _ = x + (halves[0].silu() * halves[1]).linear(down)
        }
      }),
    ]
  }
}
