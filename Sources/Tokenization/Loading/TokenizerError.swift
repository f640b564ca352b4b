/// Why a tokenizer cannot be loaded: the file, the component in it, and what is wrong.
public struct TokenizerError: Error, Equatable, CustomStringConvertible {
  public var file: String
  public var message: String
  public var description: String { "\(file): \(message)" }

  public init(file: String, message: String) { (self.file, self.message) = (file, message) }
}
