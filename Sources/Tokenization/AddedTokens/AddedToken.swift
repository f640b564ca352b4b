/// A token that is found in a text before the model sees it.
public struct AddedToken: Sendable, Equatable {
  public var content: String
  /// Matches only where no word character adjoins.
  public var singleWord = false
  /// Takes the white space before it along.
  public var lstrip = false
  /// Takes the white space after it along.
  public var rstrip = false
  /// Is looked for in the normalized text, and not in the text as given.
  public var normalized = false
  /// Has a meaning beyond its text, and can be left out when decoding.
  public var special = false

  public init(content: String, special: Bool) { (self.content, self.special) = (content, special) }

  init(_ component: Component) throws(TokenizerError) {
    content = try component.string("content")
    singleWord = try component.bool("single_word", default: false)
    lstrip = try component.bool("lstrip", default: false)
    rstrip = try component.bool("rstrip", default: false)
    special = try component.bool("special", default: false)
    normalized = try component.bool("normalized", default: !special)
  }
}
