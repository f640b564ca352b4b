import Foundation

/// A curve drawn with characters, for the terminal: braille dots (2 × 4 a character), or `*` where Unicode cannot be shown.
///
/// ```
/// raw reward
/// 0.75 ┤                ⣀⠤⠊
/// 0.50 ┤         ⣀⠤⠒⠊⠉
/// 0.25 ┤⣀⣀⠤⠤⠒⠊⠉
///      └──────────────────────
///      0                   40
/// ```
public struct LineChart: Sendable {
  public var title: String
  /// x must not decrease. Values that are not finite leave a gap.
  public var points: [(x: Double, y: Double)]
  /// Of the whole chart, in columns and rows; the title and the x axis take three rows.
  public var width: Int
  public var height: Int

  public init(title: String, points: [(x: Double, y: Double)], width: Int = 72, height: Int = 14) {
    (self.title, self.points, self.width, self.height) = (title, points, max(width, 20), max(height, 5))
  }

  /// Values at steps 0, 1, …
  public init(title: String, values: [Double], width: Int = 72, height: Int = 14) {
    self.init(title: title, points: values.enumerated().map { (Double($0), $1) }, width: width, height: height)
  }

  /// The lines of the chart.
  public func lines(isUnicode: Bool) -> [String] {
    let shown = points.filter { $0.x.isFinite && $0.y.isFinite }
    guard let first = shown.first, let last = shown.last else { return [title, "(no values)"] }
    let y = Self.range(shown.map(\.y))
    let x = first.x..<(last.x > first.x ? last.x : first.x + 1)
    let rows = height - 3
    let labels = (0..<rows).map { row in
      row % 2 == 0 || rows < 5 ? shortNumber(Self.rounded(y.upperBound - (y.upperBound - y.lowerBound) * Double(row) / Double(rows - 1), in: y)) : ""
    }
    let labelWidth = labels.map(\.count).max()!
    let columns = width - labelWidth - 2
    var canvas = Canvas(columns: columns, rows: rows, isUnicode: isUnicode)
    draw(on: &canvas, x, y)
    let (tick, side, corner, line) = isUnicode ? ("┤", "│", "└", "─") : ("+", "|", "+", "-")
    var lines = [title]
    for (label, text) in zip(labels, canvas.lines) {
      let padding = String(repeating: " ", count: labelWidth - label.count)
      lines.append("\(padding)\(label) \(label.isEmpty ? side : tick)\(text)")
    }
    let margin = String(repeating: " ", count: labelWidth + 1)
    lines.append(margin + corner + String(repeating: line, count: columns))
    let (left, right) = (shortNumber(first.x), last.x > first.x ? shortNumber(last.x) : "")
    let gap = max(columns - left.count - right.count, 1)
    lines.append(margin + " " + left + String(repeating: " ", count: gap) + right)
    return lines.map { $0.trimmingTrailingSpaces }
  }

  private func draw(on canvas: inout Canvas, _ x: Range<Double>, _ y: ClosedRange<Double>) {
    func dot(_ point: (x: Double, y: Double)) -> (Int, Int) {
      let column = (point.x - x.lowerBound) / (x.upperBound - x.lowerBound) * Double(canvas.dotColumns - 1)
      let row = (y.upperBound - point.y) / (y.upperBound - y.lowerBound) * Double(canvas.dotRows - 1)
      return (Int(column.rounded()), Int(row.rounded()))
    }
    var previous: (Int, Int)?
    for point in points {
      guard point.x.isFinite && point.y.isFinite else {
        previous = nil
        continue
      }
      let next = dot(point)
      canvas.line(from: previous ?? next, to: next)
      previous = next
    }
  }

  /// From the smallest to the largest value, widened if they are the same.
  private static func range(_ values: [Double]) -> ClosedRange<Double> {
    let (low, high) = (values.min()!, values.max()!)
    if low < high { return low...high }
    let margin = low == 0 ? 1 : abs(low) / 2
    return (low - margin)...(high + margin)
  }

  /// A tick's value in as many digits as tell the ticks of the range apart.
  private static func rounded(_ value: Double, in range: ClosedRange<Double>) -> Double {
    let unit = pow(10, (log10(range.upperBound - range.lowerBound)).rounded(.down) - 2)
    let result = (value / unit).rounded() * unit
    return result.isFinite ? result : value
  }
}

/// A grid of dots, several of which make one character.
private struct Canvas {
  let isUnicode: Bool
  let columns: Int
  let rows: Int
  private var cells: [UInt8]

  init(columns: Int, rows: Int, isUnicode: Bool) {
    (self.columns, self.rows, self.isUnicode) = (columns, rows, isUnicode)
    cells = [UInt8](repeating: 0, count: columns * rows)
  }

  var dotColumns: Int { isUnicode ? columns * 2 : columns }
  var dotRows: Int { isUnicode ? rows * 4 : rows }

  /// The bits of a braille pattern by row and column (Unicode 16, chapter 21.1).
  private static let bits: [[UInt8]] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]

  private mutating func set(_ x: Int, _ y: Int) {
    if isUnicode {
      cells[y / 4 * columns + x / 2] |= Self.bits[y % 4][x % 2]
    } else {
      cells[y * columns + x] = 1
    }
  }

  mutating func line(from a: (x: Int, y: Int), to b: (x: Int, y: Int)) {
    let steps = max(abs(b.x - a.x), abs(b.y - a.y), 1)
    for step in 0...steps {
      let share = Double(step) / Double(steps)
      set(a.x + Int((Double(b.x - a.x) * share).rounded()), a.y + Int((Double(b.y - a.y) * share).rounded()))
    }
  }

  var lines: [String] {
    (0..<rows).map { row in
      String(
        cells[row * columns..<(row + 1) * columns].map { cell -> Character in
          if cell == 0 { return " " }
          return isUnicode ? Character(Unicode.Scalar(0x2800 + UInt32(cell))!) : "*"
        })
    }
  }
}

extension String {
  fileprivate var trimmingTrailingSpaces: String {
    guard let last = lastIndex(where: { $0 != " " }) else { return "" }
    return String(self[...last])
  }
}
