import Foundation
import JSON

/// The pictures of a dataset's row, and their places in its messages: `<image>` in a text, or parts of a content.
struct RowPictures {
  private let given: [String]
  private var inMessages: [String] = []
  private var next = 0

  private static let mark = "<image>"

  /// - Parameter key: the column; nil: there is none.
  /// - Throws: `DatasetError` when it holds something else than pictures.
  init(_ key: String?, _ row: JSONObject) throws {
    guard let key else {
      given = []
      return
    }
    switch row[key] {
    case nil, .null: given = []
    case let value?:
      let values = value.array ?? [value]
      given = try values.map { value in
        guard let text = value.string ?? value["path"]?.string ?? value["url"]?.string else {
          throw DatasetError("'\(key)' must hold a path or a data URI of a picture, or a list of them, not \(value.kind)")
        }
        return text
      }
    }
  }

  var isEmpty: Bool { given.isEmpty && inMessages.isEmpty }

  /// The messages with parts for pictures.
  /// - Throws: `DatasetError` when there are fewer pictures than places.
  mutating func placed(in messages: [JSONValue]) throws -> [JSONValue] {
    try messages.map { message in
      guard var object = message.object, let content = object["content"] else { return message }
      switch content {
      case .string(let text) where !given.isEmpty && text.contains(Self.mark): object["content"] = .array(try parts(of: text))
      case .array(let parts): object["content"] = .array(try parts.map { try part($0) })
      default: return message
      }
      return .object(object)
    }
  }

  private mutating func parts(of text: String) throws -> [JSONValue] {
    var parts: [JSONValue] = []
    for (index, piece) in text.components(separatedBy: Self.mark).enumerated() {
      if index > 0 { parts.append(try picture()) }
      if !piece.isEmpty { parts.append(["type": "text", "text": .string(piece)]) }
    }
    return parts
  }

  /// A part of a content: one that is a picture of the row's, or names its own.
  private mutating func part(_ part: JSONValue) throws -> JSONValue {
    switch part["type"]?.string {
    case "image", "image_url":
      let own = part["image"]?.string ?? part["image_url"]?["url"]?.string ?? part["image_url"]?.string ?? part["path"]?.string
      guard let own else { return try picture() }
      inMessages.append(own)
      return ["type": "image"]
    case "video", "audio":
      throw DatasetError("the prompt has a part of type '\(part["type"]!.string!)'; only text and images are supported")
    default: return part
    }
  }

  private mutating func picture() throws -> JSONValue {
    guard next < given.count else {
      throw DatasetError("the prompt has more places for pictures than the row has pictures, which are \(given.count)")
    }
    inMessages.append(given[next])
    next += 1
    return ["type": "image"]
  }

  /// All pictures in the order of their places.
  /// - Throws: `DatasetError` when some have no place.
  func used() throws -> [String] {
    guard next == given.count else {
      throw DatasetError("the row has \(given.count) pictures, but the prompt has places for \(next); write \(Self.mark) where each belongs")
    }
    return inMessages
  }
}
