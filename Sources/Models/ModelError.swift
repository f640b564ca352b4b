/// What is wrong with a model's configuration or weights, in one sentence.
public struct ModelError: Error, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
