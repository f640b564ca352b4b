import Foundation

/// Which linear weights of a model are kept as e4m3, and with which scales.
public struct Float8Scheme: Sendable, Equatable, Codable {
  public var scaling: Float8Scaling
  /// Modules whose weights stay as they are, as `modules_to_not_convert` names them: the beginning of a name up to a dot,
  /// its end, or a regular expression of either (compressed-tensors: after `re:`).
  public var excludedModules: [String]

  public init(_ scaling: Float8Scaling, excludedModules: [String] = []) {
    (self.scaling, self.excludedModules) = (scaling, excludedModules)
  }

  /// Whether the weight of a module, e.g. `model.layers.0.self_attn.q_proj`, is kept as e4m3.
  public func applies(to module: String) -> Bool {
    !excludedModules.contains { pattern in
      pattern.allSatisfy(Self.isPlain) ? Self.matches(module, plain: pattern) : Self.matches(module, expression: pattern)
    }
  }

  private static func isPlain(_ character: Character) -> Bool {
    character.isLetter || character.isNumber || character == "_" || character == "." || character == "-"
  }

  private static func matches(_ module: String, plain name: String) -> Bool {
    module.hasSuffix(name) || (module.hasPrefix(name) && module.utf8.dropFirst(name.utf8.count).first == UInt8(ascii: "."))
  }

  private static func matches(_ module: String, expression pattern: String) -> Bool {
    let text = pattern.hasPrefix("re:") ? pattern.dropFirst(3) : Substring(pattern)
    guard let expression = try? NSRegularExpression(pattern: "^(?:\(text))(?:(?<=\\.)|(?=\\.|$))") else {
      return module.hasSuffix(pattern)
    }
    return expression.firstMatch(in: module, range: NSRange(module.startIndex..., in: module)) != nil
  }
}
