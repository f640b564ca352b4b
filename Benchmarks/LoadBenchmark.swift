import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import Synchronization
import Torch

/// How fast a model folder becomes a model on the CPU, beside reading its files, in turns.
///
/// Both sides end with the bytes in memory of their own, which is new each time, and may use all cores. Between turns the system's page cache is
/// brought into one state: `warm`, all of the files are in it, or `cold`, it was told to forget them
/// (`POSIX_FADV_DONTNEED`).
public enum LoadBenchmark {
  public struct Work: Sendable {
    /// Where the folder is made for the time of the run.
    public var temporaryFolder = FileManager.default.temporaryDirectory
    /// Of all files together, about.
    public var bytes = 4_000_000_000
    public var rounds = 5
    public var vocabularySize = 151_936

    public init() {}
  }

  public struct Row: Sendable, Encodable {
    public var pageCache: String
    public var bytes: Int
    /// Medians over the rounds.
    public var readSeconds: Double
    public var loadSeconds: Double
    /// The median of the rounds' ratios: the two sides of a round run right after one another.
    public var shareOfReading: Double

    private enum CodingKeys: String, CodingKey {
      case pageCache = "page_cache", bytes, readSeconds = "read_seconds", loadSeconds = "load_seconds"
      case shareOfReading = "share_of_reading"
    }
  }

  /// Least share of the speed of reading that loading should have.
  public static let goal = 0.8

  /// - Throws: what is wrong with the disk.
  public static func run(_ work: Work) throws -> [Row] {
    let folder = work.temporaryFolder.appendingPathComponent("slime-load-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try write(work, to: folder)
    let files = try HuggingFaceFolder(folder).weights().files.map(\.url)
    return try [PageCache.warm, .cold].map { try measure($0, folder, files, rounds: work.rounds) }
  }

  private static func measure(_ cache: PageCache, _ folder: URL, _ files: [URL], rounds: Int) throws -> Row {
    var times: [(read: Double, load: Double)] = []
    var bytes = 0
    func read() throws -> Double {
      try cache.prepare(files)
      return try seconds { bytes = try files.reduce(0) { try $0 + readWhole($1) } }
    }
    func load() throws -> Double {
      try cache.prepare(files)
      return try seconds {
        let folder = try HuggingFaceFolder(folder)
        let model = try ModelRegistry.configuration(of: folder).model(parallel: .single(), dtype: .bfloat16)
        try catchingTorchErrors { try model.load(folder, dtype: .bfloat16, device: .cpu) }
      }
    }
    for round in 0..<rounds {
      // Neither side is always the first.
      if round.isMultiple(of: 2) {
        let first = try read()
        times.append((first, try load()))
      } else {
        let first = try load()
        times.append((try read(), first))
      }
    }
    func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    return Row(
      pageCache: cache.rawValue, bytes: bytes, readSeconds: median(times.map(\.read)), loadSeconds: median(times.map(\.load)),
      shareOfReading: median(times.map { $0.read / $0.load }))
  }

  private static func seconds(_ body: () throws -> Void) throws -> Double {
    try ContinuousClock().measure { try body() } / .seconds(1)
  }

  /// Reads a file into memory of its own, on all cores, and lets go of it.
  private static func readWhole(_ url: URL) throws -> Int {
    let file = try FileHandle(forReadingFrom: url)
    defer { try? file.close() }
    let count = Int(try file.seekToEnd())
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 64)
    defer { memory.deallocate() }
    let step = 16 << 20
    let missing = Atomic(count)
    nonisolated(unsafe) let start = memory.baseAddress!
    DispatchQueue.concurrentPerform(iterations: (count + step - 1) / step) { [descriptor = file.fileDescriptor] part in
      var place = part * step
      let end = min(place + step, count)
      while place < end {
        let read = pread(descriptor, start + place, end - place, off_t(place))
        guard read > 0 else { return }
        place += read
        missing.subtract(read, ordering: .relaxed)
      }
    }
    let rest = missing.load(ordering: .relaxed)
    guard rest == 0 else { throw BenchmarkError("\(rest) bytes of \(url.path) cannot be read") }
    return count
  }

  private enum PageCache: String {
    case warm, cold

    func prepare(_ files: [URL]) throws {
      for url in files {
        switch self {
        case .warm: _ = try LoadBenchmark.readWhole(url)
        case .cold:
          let file = try FileHandle(forReadingFrom: url)
          posix_fadvise(file.fileDescriptor, 0, 0, POSIX_FADV_DONTNEED)
          try file.close()
        }
      }
    }
  }

  /// Random weights in bf16 of a model of Qwen3-1.7B's width with as many layers as fill the bytes.
  private static func write(_ work: Work, to folder: URL) throws {
    var shape = BenchmarkModel(
      vocabularySize: work.vocabularySize, hiddenSize: 2048, intermediateSize: 6144, layerCount: 1, headCount: 16,
      keyValueHeadCount: 8)
    func model() throws -> (JSONValue, CausalLM) {
      let config = shape.config.setting("torch_dtype", to: "bfloat16")
      let configuration = try ModelRegistry.configuration(config, source: "the benchmark's config.json")
      return (config, try configuration.model(parallel: .single(), dtype: .bfloat16))
    }
    let (layer, root) = { ($0.blocks[0].reduce(0) { $0 + $1.count }, $0.root.reduce(0) { $0 + $1.count }) }(
      try model().1.parametersByBlock)
    shape.layerCount = max((work.bytes / DType.bfloat16.size - root) / layer, 1)
    let (config, whole) = try model()
    let generator = Generator(seed: 1)
    var drawn: [[Int]: Tensor] = [:]
    try catchingTorchErrors {
      try HuggingFaceFolder.save(
        to: folder, config: config,
        tensors: whole.table.parameters.flatMap(\.pieces).map { piece in
          TensorSource(TensorSpecification(name: piece.checkpointName, dtype: .bfloat16, shape: piece.shape)) {
            // Equal shapes get equal numbers: drawing them is what takes time.
            if drawn[piece.shape] == nil { drawn[piece.shape] = .randn(piece.shape, generator: generator).to(dtype: .bfloat16) }
            return drawn[piece.shape]!
          }
        }, maximumShardBytes: 1 << 30)
    }
  }

  public static func table(_ rows: [Row]) -> String {
    func text(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
    func line(_ cells: [String]) -> String {
      cells.map { String(repeating: " ", count: max(0, 14 - $0.count)) + $0 }.joined()
    }
    let body = rows.map { row in
      let gigabytes = Double(row.bytes) / 1e9
      return line([
        row.pageCache, text(gigabytes, 2), text(gigabytes / row.readSeconds, 2), text(gigabytes / row.loadSeconds, 2),
        text(row.shareOfReading, 2),
      ])
    }
    return ([line(["page cache", "GB", "read GB/s", "load GB/s", "share"])] + body
      + ["goal: a share of \(goal)"]).joined(separator: "\n")
  }
}
