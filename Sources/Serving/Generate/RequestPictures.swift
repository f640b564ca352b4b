import Foundation
import Images
import Inference
import JSON

/// Pictures of requests: data URIs, base64, file URLs or paths of files on the server's machine.
enum RequestPictures {
  /// `image_data`: one picture or a list of them for a prompt; for each prompt of a batch a picture, a list or null.
  /// - Throws: `InvalidRequest` naming what is no picture.
  static func perPrompt(_ value: JSONValue?, count: Int, isBatch: Bool) throws(InvalidRequest) -> [[Data]] {
    guard let value, !value.isNull else { return Array(repeating: [], count: count) }
    guard isBatch else { return [try list(value)] }
    guard let array = value.array else { return Array(repeating: try list(value), count: count) }
    guard array.count == count else {
      throw InvalidRequest("image_data has \(array.count) elements for \(count) prompts; give one for each: a picture, a list of them or null.")
    }
    var all: [[Data]] = []
    for element in array { all.append(element.isNull ? [] : try list(element)) }
    return all
  }

  private static func list(_ value: JSONValue) throws(InvalidRequest) -> [Data] {
    var all: [Data] = []
    for element in value.array ?? [value] { all.append(try picture(element, "image_data")) }
    return all
  }

  /// - Parameter value: a string, or an object with one under `url`, as in the OpenAI API.
  static func picture(_ value: JSONValue, _ field: String) throws(InvalidRequest) -> Data {
    guard let text = value.string ?? value["url"]?.string else {
      throw InvalidRequest("\(field) must be a data URI, base64, a file URL or a path, or a list of them, got \(value.kind).")
    }
    do {
      let data = try ImageSource.data(text)
      _ = try ImageFormat(of: data)
      return data
    } catch {
      throw InvalidRequest("\(field) cannot be used: \(error).")
    }
  }
}
