import Foundation
import Parallelism
import Torch

/// What stands between the matrices of a feed-forward layer.
public enum Activation: Sendable, Equatable {
  case silu
  /// x Φ(x) (Hendrycks & Gimpel, 2016), and its approximation by tanh.
  case gelu
  case tanhGelu
  case relu
  /// GPT-OSS: gate · σ(α · gate) · (up + 1), gate at most `limit`, up within ± `limit`.
  case clampedSwish(alpha: Double, limit: Double)

  /// By its name in a config.json.
  /// - Throws: `ModelError` naming those that there are.
  init(named key: String, of config: ConfigReader, default fallback: String = "silu") throws {
    let names: [String: Activation] = [
      "silu": .silu, "swish": .silu, "gelu": .gelu, "gelu_new": .tanhGelu, "gelu_fast": .tanhGelu,
      "gelu_pytorch_tanh": .tanhGelu, "relu": .relu,
    ]
    let name = try config.text(key, default: fallback)
    guard let known = names[name] else {
      throw ModelError(
        "\(config.source) has \(key) = '\(name)', which is not supported; supported are \(names.keys.sorted().joined(separator: ", "))")
    }
    self = known
  }

  /// Whether deterministic mode has a form of it that gives a token the same bits whatever stands beside it.
  var hasRowInvariantForm: Bool {
    switch self {
    case .silu, .relu, .clampedSwish: true
    case .gelu, .tanhGelu: false
    }
  }

  func callAsFunction(_ input: Tensor, _ parallel: ParallelContext) -> Tensor {
    switch self {
    case .silu: parallel.silu(input)
    case .gelu: input.gelu()
    case .tanhGelu: input.gelu(approximate: "tanh")
    case .relu: input.relu()
    case .clampedSwish(let alpha, _): input * parallel.sigmoid(input * alpha)
    }
  }

  /// Of a gated layer: activation(gate) · up.
  func gated(_ gate: Tensor, _ up: Tensor, _ parallel: ParallelContext) -> Tensor {
    guard case .clampedSwish(_, let limit) = self else { return self(gate, parallel) * up }
    return (up.clamped(-limit, max: limit) + 1) * self(gate.clamped(max: limit), parallel)
  }
}
