import Torch

/// Attention whose inside is computed again in the backward pass (Megatron's selective recomputation).
public final class RecomputedAttention: AttentionBackend {
  private let attention: any AttentionBackend

  public init(_ attention: any AttentionBackend) { self.attention = attention }

  public func attend(
    query: Tensor, key: Tensor, value: Tensor, layer: Int, scale: Double, rule: AttentionRule
  ) -> Tensor {
    Tensor.checkpoint("RecomputedAttention", input: query, parameters: [key, value] + (rule.sinks.map { [$0] } ?? [])) { [attention] query in
      attention.attend(query: query, key: key, value: value, layer: layer, scale: scale, rule: rule)
    }
  }

  public func recur(_ input: Tensor, parameters: [Tensor], layer: Int, _ scan: @escaping SequenceScan) -> Tensor {
    Tensor.checkpoint("RecomputedScan", input: input, parameters: parameters) { [attention] input in
      attention.recur(input, parameters: parameters, layer: layer, scan)
    }
  }
}
