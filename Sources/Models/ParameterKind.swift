import Torch

/// What the numbers of a model are for.
public enum ParameterKind: String, Sendable, CaseIterable {
  case embedding
  case attention
  case feedForward = "feed-forward"
  case experts
  case sharedExperts = "shared experts"
  case router
  case norms
  case head
  case vision = "vision tower"
  /// In a model of the user's.
  case other
}

extension Parameter {
  /// By the name that the layers of this module give it.
  public var kind: ParameterKind {
    if sharing.isExpert { return .experts }
    let words = name.split(separator: ".")
    if words.first == "visual" { return .vision }
    if words.contains(where: { $0.hasSuffix("norm") }) { return .norms }
    if words.contains(where: { $0.hasPrefix("embed_") }) { return .embedding }
    if words.contains(where: { $0.hasPrefix("shared_expert") }) { return .sharedExperts }
    if words.contains("self_attn") || words.contains("linear_attn") { return .attention }
    if words.contains("mlp") { return words.contains("gate") ? .router : .feedForward }
    return words.first?.hasSuffix("_head") == true ? .head : .other
  }
}
