import Torch

/// Cosines and sines of one forward pass, `[T, 1, headDimension]`, in the activations' type.
public struct RotaryTable {
  let cosine: Tensor
  let sine: Tensor

  /// Turns each pair (i, i + headDimension / 2) of every head by its position's angle. `[T, heads, headDimension]`
  func rotate(_ heads: Tensor) -> Tensor {
    let half = heads.size(2) / 2
    let first = heads.narrow(2, start: 0, length: half)
    let second = heads.narrow(2, start: half, length: half)
    return heads * cosine + Tensor.cat([-second, first], dim: 2) * sine
  }
}

public struct RotaryEmbedding {
  private let inverseFrequencies: [Float]
  private let magnitude: Double

  public init(_ configuration: RotaryConfiguration, headDimension: Int) {
    inverseFrequencies = configuration.inverseFrequencies(headDimension: headDimension).map { Float($0) }
    magnitude = configuration.magnitude
  }

  /// Angles are computed in fp32, as in `transformers`.
  public func table(positions: Tensor, dtype: DType) -> RotaryTable {
    withoutGradients {
      let frequencies = Tensor(inverseFrequencies).to(device: positions.device)
      let half = positions.to(dtype: .float32).unsqueeze(1) * frequencies.unsqueeze(0)
      let angles = Tensor.cat([half, half], dim: 1).unsqueeze(1)
      func scaled(_ tensor: Tensor) -> Tensor { (magnitude == 1 ? tensor : tensor * magnitude).to(dtype: dtype) }
      return RotaryTable(cosine: scaled(angles.cos()), sine: scaled(angles.sin()))
    }
  }
}
