import Parallelism
import Torch

/// What the layers of a tower are built from. All of it is whole on every tensor-parallel rank, which each compute the same;
/// with sequence parallelism a rank puts only its own tokens' features in their places, and gradients are parts of a sum.
struct VisionBuilder {
  let configuration: VisionConfiguration
  let parallel: ParallelContext

  var initializer: Initializer { .normal(standardDeviation: configuration.initializerRange) }

  /// All norms have this constant.
  func norm(_ scope: ParameterScope, size: Int) -> any Norm {
    configuration.norm == .layer
      ? LayerNorm(scope, size: size, epsilon: 1e-6, sharing: parallel.sequenceSharing)
      : RMSNorm(scope, size: size, epsilon: 1e-6, sharing: parallel.sequenceSharing)
  }

  /// - Parameter shape: of the weight; what follows the outputs is one vector.
  func linear(_ scope: ParameterScope, _ shape: [Int], bias: Bool = true) -> VisionLinear {
    VisionLinear(
      weight: scope.parameter("weight", shape: shape, initializer: initializer, sharing: parallel.sequenceSharing),
      bias: bias
        ? scope.parameter("bias", shape: [shape[0]], initializer: .constant(0), sharing: parallel.sequenceSharing) : nil)
  }
}

struct VisionLinear {
  let weight: Parameter
  let bias: Parameter?

  func callAsFunction(_ input: Tensor) -> Tensor {
    input.linear(weight.shape.count == 2 ? weight.tensor : weight.tensor.flatten(1), bias: bias?.tensor)
  }
}

/// x + attention(norm x), then x + feedForward(norm x), over patches.
struct VisionBlock {
  private let attentionNorm: any Norm
  private let queryKeyValue: VisionLinear
  private let output: VisionLinear
  private let feedForwardNorm: any Norm
  private let gate: VisionLinear?
  private let up: VisionLinear
  private let down: VisionLinear
  private let builder: VisionBuilder

  init(_ scope: ParameterScope, _ builder: VisionBuilder) {
    let vision = builder.configuration
    let (size, inner) = (vision.hiddenSize, vision.intermediateSize)
    self.builder = builder
    attentionNorm = builder.norm(scope("norm1"), size: size)
    queryKeyValue = builder.linear(scope("attn")("qkv"), [3 * size, size])
    output = builder.linear(scope("attn")("proj"), [size, size])
    feedForwardNorm = builder.norm(scope("norm2"), size: size)
    let isGated = vision.hasGatedFeedForward
    gate = isGated ? builder.linear(scope("mlp")("gate_proj"), [inner, size]) : nil
    up = builder.linear(scope("mlp")(isGated ? "up_proj" : "linear_fc1"), [inner, size])
    down = builder.linear(scope("mlp")(isGated ? "down_proj" : "linear_fc2"), [size, inner])
  }

  /// - Parameter rotary: cosine and sine of each patch, `[patches, 1, headDimension]`, fp32.
  func callAsFunction(_ input: Tensor, _ segments: VisionSegments, rotary: (cosine: Tensor, sine: Tensor)) -> Tensor {
    let vision = builder.configuration
    let parts = queryKeyValue(attentionNorm(input)).view([-1, 3, vision.headCount, vision.headDimension]).unbind(1)
    // Turned in fp32, as in `transformers`.
    func turned(_ heads: Tensor) -> Tensor {
      RotaryTable(cosine: rotary.cosine, sine: rotary.sine).rotate(heads.to(dtype: .float32)).to(dtype: heads.dtype)
    }
    let middle = input + output(segments.attend(turned(parts[0]), turned(parts[1]), parts[2]))
    let normed = feedForwardNorm(middle)
    let activation = vision.activation
    let inner = gate.map { activation.gated($0(normed), up(normed), builder.parallel) }
      ?? activation(up(normed), builder.parallel)
    return middle + down(inner)
  }
}

/// Makes one token of the patches that lie beside each other.
struct PatchMerger {
  private let norm: any Norm
  private let normsMerged: Bool
  private let up: VisionLinear
  private let down: VisionLinear
  private let mergedSize: Int

  /// - Parameter normsMerged: whether it norms patches together.
  init(_ scope: ParameterScope, _ builder: VisionBuilder, normsMerged: Bool) {
    let vision = builder.configuration
    let names = vision.mergerNames
    func place(_ name: String) -> ParameterScope { name.split(separator: ".").reduce(scope) { $0(String($1)) } }
    (mergedSize, self.normsMerged) = (vision.hiddenSize * vision.mergedCount, normsMerged)
    norm = builder.norm(place(names.norm), size: normsMerged ? mergedSize : vision.hiddenSize)
    up = builder.linear(place(names.up), [mergedSize, mergedSize])
    down = builder.linear(place(names.down), [vision.outputSize, mergedSize])
  }

  /// `[patches, hiddenSize]` → `[patches / merged, outputSize]`
  func callAsFunction(_ input: Tensor) -> Tensor {
    let merged = normsMerged ? norm(input.view([-1, mergedSize])) : norm(input).view([-1, mergedSize])
    return down(up(merged).gelu())
  }
}
