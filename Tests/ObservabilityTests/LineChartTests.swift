import Observability
import Testing

@Test func aRisingLineInASCII() {
  // Four columns a step; a column half way between two rows belongs to the upper one.
  let chart = LineChart(title: "reward", values: [0, 1, 2, 3, 4], width: 20, height: 8)
  #expect(
    chart.lines(isUnicode: false) == [
      "reward",
      "4 +              ***",
      "  |          ****",
      "2 +      ****",
      "  |  ****",
      "0 +**",
      "  +-----------------",
      "   0               4",
    ])
}

@Test func brailleDotsLieWhereTheValuesAre() {
  // Two values make a diagonal: on 34 × 8 dots each row of dots gets its quarter of a line.
  let lines = LineChart(title: "t", values: [0, 1], width: 20, height: 5).lines(isUnicode: true)
  #expect(lines.count == 5 && lines[0] == "t")
  #expect(lines[1].hasPrefix("1 ┤") && lines[2].hasPrefix("  │") || lines[2].hasPrefix("0 ┤"), "\(lines)")
  #expect(lines[3] == "  └" + String(repeating: "─", count: 17))
  // The first dot is the lowest left one of its cell (dot 7), the last one the highest right one (dot 4).
  let first = lines[2].unicodeScalars.dropFirst(3).first!.value - 0x2800
  let last = lines[1].unicodeScalars.last!.value - 0x2800
  #expect(first & 0x40 != 0 && last & 0x08 != 0)
  let dots = lines[1...2].joined().unicodeScalars.filter { (0x2800...0x28FF).contains($0.value) }
  #expect(dots.map { ($0.value - 0x2800).nonzeroBitCount }.reduce(0, +) == 34)
}

@Test(arguments: [true, false])
func oddInputsAreDrawn(isUnicode: Bool) {
  let cases: [[Double]] = [
    [], [1], [0, 0, 0], [.nan], [.nan, 1, .infinity, 2], [1e300, -1e300], [1e-300, 2e-300], [-5, -5],
    (0..<1000).map { Double($0 % 7) },
  ]
  for values in cases {
    for (width, height) in [(0, 0), (20, 5), (72, 14)] {
      let lines = LineChart(title: "odd", values: values, width: width, height: height).lines(isUnicode: isUnicode)
      #expect(lines.allSatisfy { $0.count <= max(width, 24) }, "\(values.prefix(4)): \(lines)")
      if values.contains(where: \.isFinite) { #expect(lines.count == max(height, 5)) }
      if !isUnicode { #expect(lines.joined().allSatisfy { $0.isASCII }) }
    }
  }
}

@Test func aGapIsLeftWhereAValueIsMissing() {
  let lines = LineChart(title: "gap", values: [1, 1, .nan, 1, 1], width: 20, height: 5).lines(isUnicode: false)
  let row = lines.first { $0.contains("*") }!
  #expect(row.split(separator: " ").filter { $0.contains("*") }.count == 2, "\(lines)")
}
