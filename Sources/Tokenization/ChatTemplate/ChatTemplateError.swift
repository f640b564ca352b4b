/// Why a chat template could not be read or rendered: the line of the template, and a sentence.
public struct ChatTemplateError: Error, Equatable, CustomStringConvertible {
  public var line: Int?
  public var message: String

  public init(line: Int? = nil, message: String) { (self.line, self.message) = (line, message) }

  public var description: String {
    if let line { "chat template, line \(line): \(message)" } else { "chat template: \(message)" }
  }
}

/// An error whose line is filled in by whoever knows it.
func failure(_ message: String) -> ChatTemplateError { ChatTemplateError(message: message) }
