import Images
import Parallelism
import Torch

/// What a language model is given of pictures: one row for each token that stands for a part of one.
public struct VisionFeatures {
  /// In the place of the token's embedding. `[tokens, hiddenSize]`
  public let embeddings: Tensor
  /// Added to the output of the first layers. `[tokens, hiddenSize]` each
  public let deepstack: [Tensor]

  init(embeddings: Tensor, deepstack: [Tensor]) { (self.embeddings, self.deepstack) = (embeddings, deepstack) }

  /// Those of several, one after another.
  public init(joining parts: [VisionFeatures]) {
    func joined(_ tensors: [Tensor]) -> Tensor { tensors.count == 1 ? tensors[0] : Tensor.cat(tensors, dim: 0) }
    embeddings = joined(parts.map(\.embeddings))
    deepstack = parts[0].deepstack.indices.map { layer in joined(parts.map { $0.deepstack[layer] }) }
  }
}

/// The vision tower of a model: patches of pictures → features.
public final class VisionTower {
  private let configuration: VisionConfiguration
  private let patchEmbedding: VisionLinear
  /// `[side², hiddenSize]`
  private let positions: Parameter?
  private let blocks: [VisionBlock]
  private let merger: PatchMerger
  private let deepstackMergers: [PatchMerger]

  init(_ scope: ParameterScope, _ vision: VisionConfiguration, parallel: ParallelContext) {
    configuration = vision
    let builder = VisionBuilder(configuration: vision, parallel: parallel)
    patchEmbedding = builder.linear(
      scope("patch_embed")("proj"),
      [vision.hiddenSize, vision.channelCount, vision.temporalPatchSize, vision.patchSize, vision.patchSize],
      bias: vision.hasPatchBias)
    positions = vision.positionGridSide.map {
      scope("pos_embed").parameter(
        "weight", shape: [$0 * $0, vision.hiddenSize], initializer: builder.initializer, sharing: parallel.sequenceSharing)
    }
    blocks = (0..<vision.depth).map { VisionBlock(scope("blocks")($0), builder) }
    merger = PatchMerger(scope("merger"), builder, normsMerged: false)
    deepstackMergers = vision.deepstackLayers.indices.map {
      PatchMerger(scope("deepstack_merger_list")($0), builder, normsMerged: true)
    }
  }

  /// - Parameter patches: of all pictures, one after another. `[patches, numbers of one]`
  public func callAsFunction(_ patches: Tensor, grids: [ImageGrid]) -> VisionFeatures {
    let device = patches.device
    let geometry = VisionGeometry(grids, mergeSize: configuration.mergeSize)
    var hidden = patchEmbedding(patches.to(dtype: patchEmbedding.weight.tensor.dtype))
    if let positions, let side = configuration.positionGridSide {
      hidden = hidden + interpolated(positions, geometry, side: side, device).to(dtype: hidden.dtype)
    }
    var rotary = table(geometry, device)
    let whole = VisionSegments(geometry.frameLengths, device: device)
    var windowed = whole
    var order: (forth: Tensor, back: Tensor)?
    if let window = configuration.window {
      let (places, lengths) = geometry.windows(side: window.side)
      windowed = VisionSegments(lengths, device: device)
      let forth = Tensor(places).to(device: device)
      order = (forth, forth.argsort())
      hidden = reordered(hidden, forth)
      rotary = (reordered(rotary.cosine, forth), reordered(rotary.sine, forth))
    }
    var deepstack: [Int: Tensor] = [:]
    for (layer, block) in blocks.enumerated() {
      let isFull = configuration.window?.fullLayers.contains(layer) ?? true
      hidden = block(hidden, isFull ? whole : windowed, rotary: rotary)
      for (index, source) in configuration.deepstackLayers.enumerated() where source == layer {
        deepstack[index] = deepstackMergers[index](hidden)
      }
    }
    let merged = merger(hidden)
    return VisionFeatures(
      embeddings: order.map { merged.indexSelect(0, index: $0.back) } ?? merged,
      deepstack: deepstack.sorted { $0.key < $1.key }.map(\.value))
  }

  /// Rows of patches in another order of what they are merged into.
  private func reordered(_ rows: Tensor, _ order: Tensor) -> Tensor {
    rows.unflatten(0, sizes: [-1, configuration.mergedCount]).indexSelect(0, index: order).flatten(0, endDim: 1)
  }

  private func interpolated(_ table: Parameter, _ geometry: VisionGeometry, side: Int, _ device: Device) -> Tensor {
    let (indices, weights) = geometry.interpolation(side: side)
    let rows = Tensor.embedding(table.tensor, indices: Tensor(indices).view([-1, 4]).to(device: device))
    return (rows * Tensor(weights).view([-1, 4, 1]).to(device: device)).sum([1])
  }

  /// Half of a head turns by the patch's row, half by its column. `[patches, 1, headDimension]`, fp32
  private func table(_ geometry: VisionGeometry, _ device: Device) -> (cosine: Tensor, sine: Tensor) {
    withoutGradients {
      let frequencies = RotaryConfiguration(base: 10_000).inverseFrequencies(headDimension: configuration.headDimension / 2)
      let places = Tensor(geometry.places.flatMap { [Float($0.row), Float($0.column)] }).view([-1, 2, 1]).to(device: device)
      let half = (places * Tensor(frequencies.map { Float($0) }).to(device: device)).flatten(1)
      let angles = Tensor.cat([half, half], dim: 1).unsqueeze(1)
      return (angles.cos(), angles.sin())
    }
  }
}
