import Foundation

/// The other sides of benchmarks, in Python.
enum PythonScript {
  /// What a script of this folder prints.
  /// - Parameter python: an interpreter with torch and transformers.
  /// - Throws: `BenchmarkError` when it fails.
  static func output(_ python: URL, _ name: String, _ arguments: [String]) throws -> Data {
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(name)
    let process = Process()
    process.executableURL = python
    process.arguments = [script.path] + arguments
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw BenchmarkError("\(python.path) \(script.path) exited with \(process.terminationStatus); does it have torch and transformers?")
    }
    return data
  }
}
