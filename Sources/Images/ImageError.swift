/// What is wrong with a picture or its processor, in one sentence.
public struct ImageError: Error, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
