import Foundation
import Torch

/// Texts to time a tokenizer with.
struct BenchmarkText: Sendable {
  let name: String
  let texts: [String]

  /// Four kinds of text, each as one long text and as many short ones; the same in every run.
  static var generated: [BenchmarkText] {
    [("prose", prose), ("code", code), ("mixed scripts", mixedScripts), ("whitespace", whitespace)].flatMap { name, line in
      var random = SplitMix64(seed: UInt64(name.utf8.count))
      var words = Words(&random)
      var lines: [String] = []
      var bytes = 0
      while bytes < 1_000_000 {
        lines.append(line(&words, &random))
        bytes += lines[lines.count - 1].utf8.count
      }
      return pair(name, lines)
    }
  }

  /// A file, whole and line by line.
  static func corpora(of file: URL) throws -> [BenchmarkText] {
    guard let data = try? Data(contentsOf: file) else { throw BenchmarkError("\(file.path) cannot be read") }
    let text = String(decoding: data, as: UTF8.self)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { String($0) + "\n" }
    return [BenchmarkText(name: file.lastPathComponent + ", one text", texts: [text]),
      BenchmarkText(name: file.lastPathComponent + ", \(lines.count) lines", texts: lines)]
  }

  private static func pair(_ name: String, _ lines: [String]) -> [BenchmarkText] {
    [BenchmarkText(name: name + ", one text", texts: [lines.joined()]),
      BenchmarkText(name: name + ", \(lines.count) short texts", texts: lines)]
  }

  // MARK: Kinds

  private static func prose(_ words: inout Words, _ random: inout SplitMix64) -> String {
    var line = words.next(&random).capitalized
    for _ in 0..<random.next(in: 8..<30) {
      line += [" ", " ", " ", " ", " ", " ", ", ", " – "][random.next(in: 0..<8)] + words.next(&random)
      if random.next(in: 0..<25) == 0 { line += "'s" }
      if random.next(in: 0..<40) == 0 { line += " \(random.next(in: 1..<3000))" }
    }
    return line + [". ", ".\n", "? ", ".\n\n"][random.next(in: 0..<4)]
  }

  private static func code(_ words: inout Words, _ random: inout SplitMix64) -> String {
    let indent = String(repeating: "    ", count: random.next(in: 0..<5))
    let (a, b, c) = (words.next(&random), words.next(&random).capitalized, words.next(&random))
    switch random.next(in: 0..<6) {
    case 0: return indent + "let \(a)\(b) = \(c).\(a)(\(random.next(in: 0..<1000)), \"\(b)\")\n"
    case 1: return indent + "if (\(a)_\(c) >= 0x\(String(random.next(in: 0..<65536), radix: 16)) && !\(c)->\(a)) {\n"
    case 2: return indent + "}\n\n"
    case 3: return indent + "// \(b) \(c) \(a).\n"
    case 4: return indent + "return self.\(a)\(b)[\(c)] ?? 0.\(random.next(in: 0..<100));\n"
    default: return indent + "public func \(a)\(b)(_ \(c): [String: \(b)]) throws -> \(b)? {\n"
    }
  }

  private static func mixedScripts(_ words: inout Words, _ random: inout SplitMix64) -> String {
    func run(_ range: Range<Int>, _ count: Int) -> String {
      String(String.UnicodeScalarView((0..<count).map { _ in Unicode.Scalar(UInt32(random.next(in: range)))! }))
    }
    switch random.next(in: 0..<6) {
    case 0, 1: return run(0x4E00..<0x5200, random.next(in: 5..<25)) + "，" + run(0x6000..<0x7000, 8) + "。"
    case 2: return words.next(&random) + " " + run(0x1F600..<0x1F640, random.next(in: 1..<4)) + "👩‍💻 "
    case 3: return run(0x430..<0x450, 7) + " " + run(0x430..<0x450, 5) + ", "
    case 4: return run(0x627..<0x64A, 6) + " " + run(0x3042..<0x3094, 9) + " é\u{301}à "
    default: return words.next(&random) + " naïve café № \(random.next(in: 0..<100)) "
    }
  }

  private static func whitespace(_ words: inout Words, _ random: inout SplitMix64) -> String {
    let run = String(repeating: [" ", "\n", "\t", " \n"][random.next(in: 0..<4)], count: random.next(in: 1..<200))
    return run + words.next(&random) + run
  }
}

/// Made-up words, a few of which are most of a text, as in real ones.
private struct Words {
  private var known: [String] = []

  init(_ random: inout SplitMix64) {
    let syllables = ["the", "an", "in", "re", "con", "ta", "ti", "ment", "er", "al", "ly", "pro", "st", "o", "ing", "qu", "ed", "com", "ve", "ble"]
    for index in 0..<20_000 {
      known.append((0...min(index / 200 + 1, random.next(in: 1..<5))).map { _ in syllables[random.next(in: 0..<20)] }.joined())
    }
  }

  mutating func next(_ random: inout SplitMix64) -> String {
    // Zipf's law: the n-th word is the n-th part as frequent as the first.
    known[Int(exp(Double.random(in: 0..<log(Double(known.count)), using: &random)))]
  }
}

extension SplitMix64 {
  fileprivate mutating func next(in range: Range<Int>) -> Int { Int.random(in: range, using: &self) }
}
