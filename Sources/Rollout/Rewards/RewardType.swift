import Foundation

/// The rewards that `--rm-type` names, as in slime.
public enum RewardType: String, Sendable, CaseIterable {
  /// 1 when the last `\boxed` answer is the label, else 0.
  case math
  /// The same behind `</think>` or `###Response`, without which a response scores 0.
  case deepscaler

  /// - Throws: `SampleError` listing the known names.
  public init(name: String) throws(SampleError) {
    guard let type = Self(rawValue: name) else {
      throw SampleError("--rm-type \(name) is unknown; known: \(Self.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    self = type
  }

  /// - Throws: `SampleError` when the sample has no label.
  public func score(_ sample: Sample) throws(SampleError) -> Reward {
    guard let label = sample.labelText else {
      throw SampleError("sample \(sample.index ?? 0) has no label to compare with; name its key with --label-key")
    }
    var response = sample.response
    if self == .deepscaler {
      if let end = response.range(of: "</think>", options: .backwards) {
        response = String(response[end.upperBound...])
      } else if let start = response.range(of: "###Response") {
        response = String(response[start.upperBound...])
      } else {
        return .number(0)
      }
    }
    let expected = lastBoxedAnswer(in: label) ?? label
    guard let answer = lastBoxedAnswer(in: response) else { return .number(0) }
    return .number(isSameAnswer(answer, expected) ? 1 : 0)
  }
}
