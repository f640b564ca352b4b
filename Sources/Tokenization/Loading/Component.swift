import JSON

/// One part of tokenizer.json while it is being read: its value and its path, so that errors can name it.
struct Component {
  let file: String
  let path: String
  let value: JSONValue

  init(file: String, path: String, value: JSONValue) { (self.file, self.path, self.value) = (file, path, value) }

  func error(_ message: String) -> TokenizerError {
    TokenizerError(file: file, message: path.isEmpty ? message : "'\(path)' \(message)")
  }

  /// The component under `key`; nil when it is absent or null.
  func optional(_ key: String) -> Component? {
    guard let value = value[key], !value.isNull else { return nil }
    return Component(file: file, path: path.isEmpty ? key : "\(path).\(key)", value: value)
  }

  func required(_ key: String) throws(TokenizerError) -> Component {
    guard let component = optional(key) else { throw error("has no '\(key)'") }
    return component
  }

  /// What `"type"` says, or "" where it is absent.
  var type: String { value["type"]?.string ?? "" }

  func unsupported(_ what: String) -> TokenizerError { error("has the type '\(type)', and this \(what) is not supported") }

  func string() throws(TokenizerError) -> String {
    guard let string = value.string else { throw error("must be a string, not \(value.kind)") }
    return string
  }

  func string(_ key: String) throws(TokenizerError) -> String { try required(key).string() }

  func bool(_ key: String, default defaultValue: Bool? = nil) throws(TokenizerError) -> Bool {
    guard let component = optional(key) else {
      guard let defaultValue else { throw error("has no '\(key)'") }
      return defaultValue
    }
    guard let bool = component.value.bool else { throw component.error("must be true or false, not \(component.value.kind)") }
    return bool
  }

  func count(_ key: String) throws(TokenizerError) -> Int {
    let component = try required(key)
    guard let count = component.value.int, count >= 0 else { throw component.error("must be a non-negative integer") }
    return count
  }

  func scalar(_ key: String) throws(TokenizerError) -> Unicode.Scalar {
    let text = try string(key)
    guard let scalar = text.unicodeScalars.first, text.unicodeScalars.count == 1 else {
      throw error("needs a '\(key)' of one character, not '\(text)'")
    }
    return scalar
  }

  func array(_ key: String) throws(TokenizerError) -> [Component] {
    let list = try required(key)
    guard let values = list.value.array else { throw list.error("must be an array, not \(list.value.kind)") }
    return values.enumerated().map { Component(file: file, path: "\(list.path)[\($0.offset)]", value: $0.element) }
  }

  /// A `{"String": …}` or `{"Regex": …}` pattern.
  func pattern(_ key: String) throws(TokenizerError) -> RegexProgram {
    let pattern = try required(key)
    if let text = pattern.value.string ?? pattern.value["String"]?.string {
      guard !text.isEmpty else { throw pattern.error("must not be empty") }
      return .literal(text)
    }
    guard let text = pattern.value["Regex"]?.string else { throw pattern.error("must hold a 'String' or a 'Regex'") }
    do throws(RegexError) { return try RegexProgram(text) } catch { throw pattern.error("is not usable: \(error)") }
  }
}
