import Models
import Testing
import Torch

/// What a layer's attention may do besides the usual.
struct RuleCase: Sendable, CustomTestStringConvertible {
  var window: Int?
  var softCap: Double?
  var hasSinks = false

  static let all = [
    RuleCase(window: 1), RuleCase(window: 4), RuleCase(window: 7, softCap: 1.5), RuleCase(softCap: 2),
    RuleCase(hasSinks: true), RuleCase(window: 5, hasSinks: true), RuleCase(window: 1000, softCap: 1, hasSinks: true),
  ]

  var testDescription: String {
    "window \(window.map(String.init) ?? "none"), soft cap \(softCap.map { "\($0)" } ?? "none")\(hasSinks ? ", sinks" : "")"
  }

  /// A leaf of the graph.
  func sinks(_ heads: Int) -> Tensor? {
    guard hasSinks else { return nil }
    let sinks = Tensor((0..<heads).map { Float($0) - 1 })
    sinks.requiresGrad = true
    return sinks
  }

  func rule(_ sinks: Tensor?) -> AttentionRule { AttentionRule(window: window, softCap: softCap, sinks: sinks) }
}
