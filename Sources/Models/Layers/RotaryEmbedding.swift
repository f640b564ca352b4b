import Torch

/// Cosines and sines of one forward pass, `[T, 1, rotated dimensions]`, in the activations' type.
public struct RotaryTable {
  let cosine: Tensor
  let sine: Tensor

  /// Turns each pair (i, i + dimensions / 2) of every head by its position's angle; dimensions of a head past those
  /// that are rotated stay as they are. `[T, heads, headDimension]`
  func rotate(_ heads: Tensor) -> Tensor {
    rotatedPart(of: heads) { heads in
      let half = cosine.size(2) / 2
      let first = heads.narrow(2, start: 0, length: half)
      let second = heads.narrow(2, start: half, length: half)
      return heads * cosine + Tensor.cat([-second, first], dim: 2) * sine
    }
  }

  /// Turns the dimensions that are rotated, the first ones, and leaves the others.
  private func rotatedPart(of heads: Tensor, _ turn: (Tensor) -> Tensor) -> Tensor {
    let (dimensions, rest) = (cosine.size(2), heads.size(2) - cosine.size(2))
    guard rest > 0 else { return turn(heads) }
    let parts = heads.splitWithSizes([dimensions, rest], dim: 2)
    return Tensor.cat([turn(parts[0]), parts[1]], dim: 2)
  }

  /// The same for heads whose pairs stand side by side, (2i, 2i + 1); the result has them as `rotate` does.
  func rotateInterleaved(_ heads: Tensor) -> Tensor {
    rotatedPart(of: heads) { heads in
      let half = cosine.size(2) / 2
      let (cosine, sine) = (cosine.narrow(2, start: 0, length: half), sine.narrow(2, start: 0, length: half))
      let pairs = heads.unflatten(2, sizes: [half, 2]).unbind(3)
      return Tensor.cat(
        [pairs[0] * cosine - pairs[1] * sine, pairs[1] * cosine + pairs[0] * sine], dim: 2)
    }
  }
}

public final class RotaryEmbedding {
  private let configuration: RotaryConfiguration
  private let dimensions: Int
  /// Of sequences within the original context, `[1, dimensions / 2]`.
  private let inverseFrequencies: Tensor
  /// The same where positions were last.
  private var there: Tensor
  /// The axis of positions by which each frequency turns; nil: there is one.
  private let axes: [Int]?

  /// - Parameters:
  ///   - dimensions: of each head that are rotated.
  ///   - multimodal: nil: positions have one axis.
  /// - Throws: `ModelError` where there are not as many factors as frequencies.
  public init(_ configuration: RotaryConfiguration, dimensions: Int, multimodal: MultimodalRotary? = nil) throws {
    if case .long(let long) = configuration.scaling {
      for (key, factors) in [("short_factor", long.shortFactors), ("long_factor", long.longFactors)]
      where factors.count != dimensions / 2 {
        throw ModelError(
          "rotary scaling 'longrope' has a \(key) of \(factors.count) numbers, but \(dimensions / 2) frequencies are rotated by; give as many")
      }
    }
    (self.configuration, self.dimensions) = (configuration, dimensions)
    inverseFrequencies = Self.frequencies(configuration, dimensions, 0)
    there = inverseFrequencies
    axes = multimodal?.axes
  }

  private static func frequencies(_ configuration: RotaryConfiguration, _ dimensions: Int, _ length: Int) -> Tensor {
    let numbers = configuration.inverseFrequencies(headDimension: dimensions, sequenceLength: length)
    return Tensor(numbers.map { Float($0) }).unsqueeze(0)
  }

  /// Angles are computed in fp32, as in `transformers`.
  /// - Parameters:
  ///   - positions: `[T]`, or `[3, T]`.
  ///   - parts: see `ForwardContext`.
  public func table(positions: Tensor, parts: [SequencePart] = [], dtype: DType) -> RotaryTable {
    withoutGradients {
      var places = positions.to(dtype: .float32).unsqueeze(1)
      if positions.shape.count == 2 {
        guard let axes else { preconditionFailure("positions of three axes for a model of one") }
        places = positions.to(dtype: .float32).indexSelect(0, index: Tensor(axes).to(device: positions.device)).t()
      }
      let half = places * frequencies(parts, on: positions.device)
      let angles = Tensor.cat([half, half], dim: 1).unsqueeze(1)
      let magnitude = configuration.magnitude
      func scaled(_ tensor: Tensor) -> Tensor { (magnitude == 1 ? tensor : tensor * magnitude).to(dtype: dtype) }
      return RotaryTable(cosine: scaled(angles.cos()), sine: scaled(angles.sin()))
    }
  }

  /// Embeddings of tokens and their table, by one kernel, for positions within the original context. `[T]` both; weight in bf16 on a
  /// GPU.
  func embedded(_ tokens: Tensor, _ weight: Tensor, positions: Tensor) -> (hidden: Tensor, table: RotaryTable) {
    let (hidden, cosine, sine) = Kernels.embed(
      tokens, weight: weight, positions: positions, frequencies: frequencies([], on: positions.device),
      magnitude: configuration.magnitude)
    return (hidden, RotaryTable(cosine: cosine, sine: sine))
  }

  /// `[T, dimensions / 2]`, or a row for all tokens.
  private func frequencies(_ parts: [SequencePart], on device: Device) -> Tensor {
    if there.device != device { there = inverseFrequencies.to(device: device) }
    guard let original = configuration.originalContext, parts.contains(where: { $0.sequenceLength > original }) else {
      return there
    }
    return .cat(
      parts.map { part in
        let row = part.sequenceLength > original
          ? Self.frequencies(configuration, dimensions, part.sequenceLength).to(device: device) : there
        return row.expand([part.count, dimensions / 2])
      })
  }
}
