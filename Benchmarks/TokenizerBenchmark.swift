import Foundation
import JSON
import Tokenization

/// How fast texts become tokens on one core, beside the Python package `tokenizers` with the same file and the same texts.
///
/// Both sides count processor time, which other work on the machine changes little.
public enum TokenizerBenchmark {
  public struct Row: Sendable, Encodable {
    public let name: String
    public let megabytes: Double
    public let tokens: Int
    /// Of the fastest round.
    public let megabytesPerSecond: Double
    public var pythonMegabytesPerSecond: Double?
    /// Our speed as a multiple of Python's.
    public var ratio: Double?
  }

  /// The least that our speed may be, as a multiple of that of the Python package.
  public static let limit = 1.0

  /// - Parameters:
  ///   - folder: holds a tokenizer.json.
  ///   - files: texts to time beside the generated ones.
  ///   - python: an interpreter that has the package `tokenizers`; nil: only ours is timed.
  /// - Throws: when a file cannot be read, or the two sides give different numbers of tokens.
  public static func run(folder: URL, files: [URL] = [], python: URL? = nil, rounds: Int = 3) throws -> [Row] {
    let tokenizer = try Tokenizer(folder: folder)
    let corpora = try BenchmarkText.generated + files.flatMap { try BenchmarkText.corpora(of: $0) }
    var rows = corpora.map { measure(tokenizer, $0, rounds: rounds) }
    guard let python else { return rows }
    let other = try PythonTokenizers(python: python, tokenizer: folder.appendingPathComponent("tokenizer.json"))
      .run(corpora, rounds: rounds)
    for (index, (seconds, tokens)) in other.enumerated() {
      guard tokens == rows[index].tokens else {
        throw BenchmarkError("'\(rows[index].name)' has \(rows[index].tokens) tokens here and \(tokens) in Python; they must be equal")
      }
      // Ours once more: neither side has only the machine's better moments.
      let again = measure(tokenizer, corpora[index], rounds: rounds)
      if again.megabytesPerSecond > rows[index].megabytesPerSecond { rows[index] = again }
      rows[index].pythonMegabytesPerSecond = rows[index].megabytes / seconds
      rows[index].ratio = rows[index].megabytesPerSecond * seconds / rows[index].megabytes
    }
    return rows
  }

  /// The rows as text, one a line, and the worst ratio beside the limit.
  public static func table(_ rows: [Row]) -> String {
    func cell(_ value: Double?) -> String {
      let text = value.map { "\(($0 * 100).rounded() / 100)" } ?? "-"
      return String(repeating: " ", count: max(0, 12 - text.count)) + text
    }
    func name(_ text: String) -> String { text + String(repeating: " ", count: max(1, 34 - text.count)) }
    let header = name("text") + ["MB/s", "Python MB/s", "ratio"].map { String(repeating: " ", count: 12 - $0.count) + $0 }.joined()
    let body = rows.map { name($0.name) + cell($0.megabytesPerSecond) + cell($0.pythonMegabytesPerSecond) + cell($0.ratio) }
    let worst = rows.compactMap(\.ratio).min().map { ["worst ratio \(($0 * 100).rounded() / 100), wanted at least \(limit)"] } ?? []
    return ([header] + body + worst).joined(separator: "\n")
  }

  private static func measure(_ tokenizer: Tokenizer, _ corpus: BenchmarkText, rounds: Int) -> Row {
    var tokens = 0
    var best = Double.infinity
    // The first round is not timed.
    for round in 0...rounds {
      let start = processorTime()
      tokens = corpus.texts.reduce(0) { $0 + tokenizer.encode($1).count }
      if round > 0 { best = min(best, processorTime() - start) }
    }
    let megabytes = Double(corpus.texts.reduce(0) { $0 + $1.utf8.count }) / 1e6
    return Row(name: corpus.name, megabytes: megabytes, tokens: tokens, megabytesPerSecond: megabytes / best)
  }

  /// Seconds that this process has run.
  private static func processorTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}

/// Why a benchmark has no result, in one sentence.
public struct BenchmarkError: Error, CustomStringConvertible {
  public let description: String
  init(_ description: String) { self.description = description }
}

/// The other side: a Python process that encodes the same texts.
private struct PythonTokenizers {
  let python: URL
  let tokenizer: URL

  private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("tokenizers_benchmark.py")

  /// Seconds and tokens of each corpus.
  func run(_ corpora: [BenchmarkText], rounds: Int) throws -> [(seconds: Double, tokens: Int)] {
    let texts = corpora.map { corpus -> JSONValue in
      ["name": .string(corpus.name), "texts": .array(corpus.texts.map(JSONValue.string))]
    }
    let job: JSONValue = ["tokenizer": .string(tokenizer.path), "rounds": .int(rounds), "texts": .array(texts)]
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("slime-bench-\(UUID().uuidString).json")
    try job.data().write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    let process = Process()
    let output = Pipe()
    (process.executableURL, process.arguments, process.standardOutput) = (python, [Self.script.path, file.path], output)
    do { try process.run() } catch { throw BenchmarkError("\(python.path) cannot be started: \(error.localizedDescription)") }
    let answer = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    guard process.terminationStatus == 0, let rows = try? JSONValue(parsing: answer)["rows"]?.array, rows.count == corpora.count
    else { throw BenchmarkError("\(python.path) \(Self.script.lastPathComponent) failed; it needs the package tokenizers") }
    return rows.map { ($0["seconds"]?.double ?? .nan, $0["tokens"]?.int ?? -1) }
  }
}
