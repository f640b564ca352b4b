import Foundation
import JSON

/// A file of user data that cannot be used, and where in it, in one sentence.
public struct DatasetError: Error, Equatable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}

/// A file of one JSON value a line, read line by line. Blank lines are no rows.
public struct JSONLines: Sendable {
  public let path: String

  public init(path: String) { self.path = path }

  /// Calls `body` with each row: its number among the rows from 0, its line number from 1, and its text, until it answers false.
  /// - Throws: `DatasetError` when the file cannot be read, and whatever `body` throws.
  public func forEachRow(_ body: (_ row: Int, _ line: Int, _ text: Data) throws -> Bool) throws {
    guard let file = fopen(path, "r") else {
      throw DatasetError("\(path) cannot be read: \(String(cString: strerror(errno)))")
    }
    defer { fclose(file) }
    var (buffer, capacity): (UnsafeMutablePointer<CChar>?, Int) = (nil, 0)
    defer { free(buffer) }
    var (row, line) = (0, 0)
    while true {
      errno = 0
      let length = getline(&buffer, &capacity, file)
      guard length > 0, let buffer else {
        if errno != 0 { throw DatasetError("\(path) cannot be read: \(String(cString: strerror(errno)))") }
        return
      }
      line += 1
      var bytes = UnsafeRawBufferPointer(start: buffer, count: length)[...]
      if line == 1, bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
      if bytes.allSatisfy({ $0 == 0x20 || (0x09...0x0D).contains($0) }) { continue }
      guard try body(row, line, Data(bytes)) else { return }
      row += 1
    }
  }

  /// Calls `body` with each row that must be an object, with its line number from 1.
  /// - Parameter slice: The rows to take; nil: all.
  public func forEachObject(_ slice: DatasetPath? = nil, _ body: (_ line: Int, _ object: JSONObject) throws -> Void) throws {
    var rows = 0..<Int.max
    if let slice, slice.needsCount {
      var count = 0
      try forEachRow { _, _, _ in count += 1; return true }
      rows = slice.rows(of: count)
    } else if let slice {
      rows = slice.rows(of: .max)
    }
    try forEachRow { row, line, text in
      guard row < rows.upperBound else { return false }
      guard row >= rows.lowerBound else { return true }
      let value: JSONValue
      do { value = try JSONValue(parsing: text) } catch { throw DatasetError("\(path) line \(line): \(error)") }
      guard let object = value.object else {
        throw DatasetError("\(path) line \(line): a row must be an object, not \(value.kind)")
      }
      try body(line, object)
      return true
    }
  }
}
