import Foundation
import Testing

/// The built executable `slime` as a process, with its output in files.
final class SlimeProcess {
  /// Beside the test bundle.
  static let executable = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    .appendingPathComponent("slime")

  private let process = Process()
  private let outputFile: URL
  private let errorFile: URL

  /// - Parameters:
  ///   - folder: where it runs, and where its output goes.
  ///   - path: where programs are looked for; nil: as in this process.
  init(_ arguments: [String], in folder: URL, path: String? = nil) throws {
    if let path { process.environment = ProcessInfo.processInfo.environment.merging(["PATH": path]) { $1 } }
    let name = UUID().uuidString
    (outputFile, errorFile) = (folder.appendingPathComponent(name + ".out"), folder.appendingPathComponent(name + ".err"))
    for file in [outputFile, errorFile] { FileManager.default.createFile(atPath: file.path, contents: nil) }
    process.executableURL = Self.executable
    process.arguments = arguments
    process.currentDirectoryURL = folder
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: outputFile)
    process.standardError = try FileHandle(forWritingTo: errorFile)
    try process.run()
  }

  deinit { if process.isRunning { kill(pid, SIGKILL) } }

  var pid: Int32 { process.processIdentifier }
  var isRunning: Bool { process.isRunning }
  var output: String { (try? String(contentsOf: outputFile, encoding: .utf8)) ?? "" }
  var errors: String { (try? String(contentsOf: errorFile, encoding: .utf8)) ?? "" }

  /// The exit code, or 128 and the signal; nil when it still runs after `limit`.
  func end(within limit: Duration = .seconds(60)) async throws -> Int32? {
    guard try await holds(within: limit, { !process.isRunning }) else { return nil }
    return process.terminationStatus + (process.terminationReason == .uncaughtSignal ? 128 : 0)
  }

  /// Its workers by name: `trainer 1`.
  var workers: [String: Int32] {
    let pids = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int32($0) }
    var workers: [String: Int32] = [:]
    for child in pids where Self.parent(of: child) == pid {
      let words = ((try? Data(contentsOf: URL(fileURLWithPath: "/proc/\(child)/cmdline"))) ?? Data()).split(separator: 0)
        .map { String(decoding: $0, as: UTF8.self) }
      if let role = words.after("--role"), let rank = words.after("--rank") { workers["\(role) \(rank)"] = child }
    }
    return workers
  }

  private static func parent(of pid: Int32) -> Int32? { status(of: pid).flatMap { Int32($0[1]) } }

  /// Neither gone nor dead and waiting to be reaped.
  static func isAlive(_ pid: Int32) -> Bool { status(of: pid).map { $0[0] != "Z" } ?? false }

  /// State, parent, …
  private static func status(of pid: Int32) -> [Substring]? {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8), let end = text.lastIndex(of: ")")
    else { return nil }
    return text[end...].dropFirst(2).split(separator: " ")
  }
}

extension [String] {
  fileprivate func after(_ word: String) -> String? {
    firstIndex(of: word).flatMap { indices.contains($0 + 1) ? self[$0 + 1] : nil }
  }
}

/// Whether a condition comes to hold in time.
func holds(within limit: Duration, _ condition: () throws -> Bool) async throws -> Bool {
  let deadline = ContinuousClock.now + limit
  while try !condition() {
    if ContinuousClock.now > deadline { return false }
    try await Task.sleep(for: .milliseconds(10))
  }
  return true
}
