import Foundation
import Torch

/// All layers of a dense model by one kernel, beside operators.
extension KernelsBenchmark {
  /// The sizes of a model, and what its kernel is tried on.
  struct LayersCase {
    var layers = 2
    let hidden: Int
    let inner: Int
    let heads: Int
    let keyValueHeads: Int
    let dimension: Int
    /// 0: a row of nothing.
    let lengths: [Int]
    var pageSize = 16
    var hasBiases = false
    var hasHeadNorms = true
    var isFloat8 = false
  }

  static let layersCases = [
    LayersCase(layers: 8, hidden: 1024, inner: 3072, heads: 16, keyValueHeads: 8, dimension: 128, lengths: [384]),
    LayersCase(layers: 4, hidden: 2560, inner: 9728, heads: 32, keyValueHeads: 8, dimension: 128, lengths: [384]),
    LayersCase(hidden: 1024, inner: 3072, heads: 32, keyValueHeads: 4, dimension: 128, lengths: [1, 5000, 0, 129]),
    LayersCase(
      hidden: 896, inner: 4864, heads: 14, keyValueHeads: 2, dimension: 64, lengths: [700], pageSize: 1, hasBiases: true,
      hasHeadNorms: false),
    LayersCase(hidden: 2048, inner: 8192, heads: 16, keyValueHeads: 2, dimension: 128, lengths: [33, 16, 257]),
    LayersCase(hidden: 72, inner: 40, heads: 3, keyValueHeads: 3, dimension: 64, lengths: [2, 300], pageSize: 5),
    LayersCase(hidden: 4096, inner: 14_336, heads: 32, keyValueHeads: 8, dimension: 128, lengths: [130], hasHeadNorms: false),
    LayersCase(
      layers: 8, hidden: 1024, inner: 3072, heads: 16, keyValueHeads: 8, dimension: 128, lengths: [384], isFloat8: true),
    LayersCase(
      layers: 4, hidden: 2560, inner: 9728, heads: 32, keyValueHeads: 8, dimension: 128, lengths: [384], isFloat8: true),
    LayersCase(
      hidden: 2560, inner: 9728, heads: 32, keyValueHeads: 8, dimension: 128, lengths: [1, 700], isFloat8: true),
    LayersCase(
      hidden: 896, inner: 4864, heads: 14, keyValueHeads: 2, dimension: 64, lengths: [3, 90], pageSize: 4, hasBiases: true,
      hasHeadNorms: false, isFloat8: true),
  ]

  private struct Weights {
    let inputNorm, middleNorm, keys, values: Tensor
    let queryKeyValue, output, gateUp, down: Weight
    let queryNorm, keyNorm: Tensor?
  }

  /// A matrix of a layer, in bf16 or e4m3.
  private enum Weight {
    case plain(Tensor, bias: Tensor?)
    case float8(Float8Matrix, bias: Tensor?)

    var forKernel: FewRowsLayers.Matrix {
      switch self {
      case .plain(let weight, let bias): .init(weight, bias: bias)
      case .float8(let weight, let bias): .init(weight, bias: bias)
      }
    }

    var byteCount: Int {
      switch self {
      case .plain(let weight, _): weight.byteCount
      case .float8(let weight, _): weight.values.byteCount + weight.scales.byteCount
      }
    }

    func product(_ input: Tensor) -> Tensor {
      switch self {
      case .plain(let weight, let bias):
        input.linear(weight.to(dtype: input.dtype), bias: bias?.to(dtype: input.dtype))
      case .float8(let weight, let bias): input.float8LinearByOperators(weight, bias: bias?.to(dtype: input.dtype))
      }
    }
  }

  static func fewRowsLayers(_ device: Device, _ model: LayersCase) throws -> Row {
    let (rows, width, keyWidth) = (model.lengths.count, model.heads * model.dimension, model.keyValueHeads * model.dimension)
    let perRow = (model.lengths.max()! + model.pageSize - 1) / model.pageSize
    var random = SplitMix64(seed: UInt64(width + perRow))
    let pages = Array(0..<rows * perRow).shuffled(using: &random)
    let layers = (0..<model.layers).map { _ in
      func matrix(_ outputs: Int, _ inputs: Int, hasBias: Bool = false) -> Weight {
        let weight = noise([outputs, inputs], device) / Double(inputs).squareRoot()
        let bias = hasBias ? noise([outputs], device) : nil
        return model.isFloat8 ? .float8(Float8Matrix(quantizing: weight, .row), bias: bias) : .plain(weight, bias: bias)
      }
      func pages() -> Tensor { noise([rows * perRow * model.pageSize, model.keyValueHeads, model.dimension], device) }
      return Weights(
        inputNorm: noise([model.hidden], device), middleNorm: noise([model.hidden], device), keys: pages(), values: pages(),
        queryKeyValue: matrix(width + 2 * keyWidth, model.hidden, hasBias: model.hasBiases), output: matrix(model.hidden, width),
        gateUp: matrix(2 * model.inner, model.hidden), down: matrix(model.hidden, model.inner),
        queryNorm: model.hasHeadNorms ? noise([model.dimension], device) : nil,
        keyNorm: model.hasHeadNorms ? noise([model.dimension], device) : nil)
    }
    let input = noise([rows, model.hidden], device)
    let angles = Tensor.randn([rows, 1, model.dimension / 2], device: device)
    let both = Tensor.cat([angles, angles], dim: 2)
    let (cosine, sine) = (both.cos().to(dtype: .bfloat16), both.sin().to(dtype: .bfloat16))
    let scale = 1 / Double(model.dimension).squareRoot()
    let kernel = FewRowsLayers(
      layers.map {
        .init(
          inputNorm: $0.inputNorm, queryKeyValue: $0.queryKeyValue.forKernel, queryNorm: $0.queryNorm, keyNorm: $0.keyNorm,
          output: $0.output.forKernel, middleNorm: $0.middleNorm, gateUp: $0.gateUp.forKernel, down: $0.down.forKernel,
          keys: $0.keys, values: $0.values)
      }, heads: model.heads, keyValueHeads: model.keyValueHeads, normEpsilon: 1e-6, scale: scale, pageSize: model.pageSize)
    let shape = "\(rows) x \(model.layers) x (\(model.hidden), \(model.inner)), "
      + "\(model.heads)/\(model.keyValueHeads) heads x \(model.dimension)" + (model.isFloat8 ? ", e4m3" : "")
    guard let kernel, rows <= kernel.mostRows else { throw BenchmarkError("few_rows_layers does not take \(shape)") }
    let contexts = PageTable(
      (0..<rows).map { Array(pages[$0 * perRow..<($0 + 1) * perRow]) }, lengths: model.lengths, device: device)

    func operators(_ dtype: DType) -> Tensor {
      func own(_ tensor: Tensor) -> Tensor { tensor.to(dtype: dtype) }
      var hidden = own(input)
      for layer in layers {
        func turned(_ heads: Tensor, _ norm: Tensor?) -> Tensor {
          let heads = norm.map { heads.rmsNorm([model.dimension], weight: own($0), eps: 1e-6) } ?? heads
          let halves = heads.chunk(2, dim: 2)
          return heads * own(cosine) + Tensor.cat([-halves[1], halves[0]], dim: 2) * own(sine)
        }
        let first = hidden.rmsNorm([model.hidden], weight: own(layer.inputNorm), eps: 1e-6)
        let projected = layer.queryKeyValue.product(first)
        let parts = projected.splitWithSizes([width, keyWidth, keyWidth], dim: 1)
        func heads(_ part: Tensor) -> Tensor { part.reshape([rows, -1, model.dimension]) }
        let (query, key) = (turned(heads(parts[0]), layer.queryNorm), turned(heads(parts[1]), layer.keyNorm))
        let value = heads(parts[2])
        let attended = Tensor.cat((0..<rows).map { row in
          let length = model.lengths[row]
          guard length > 0 else { return Tensor.zeros([1, width], dtype: dtype, device: device) }
          let places = (0..<length - 1).map { pages[row * perRow + $0 / model.pageSize] * model.pageSize + $0 % model.pageSize }
          let index = Tensor(places, shape: [places.count]).to(device: device)
          func context(_ cached: Tensor, _ last: Tensor) -> Tensor {
            Tensor.cat([own(cached).indexSelect(0, index: index), last[row..<row + 1]], dim: 0).transpose(0, dim1: 1)
              .repeatInterleave(model.heads / model.keyValueHeads, dim: 0)
          }
          let scores = query[row..<row + 1].transpose(0, dim1: 1).bmm(context(layer.keys, key).transpose(1, dim1: 2)) * scale
          return scores.softmax(2).bmm(context(layer.values, value)).reshape([1, width])
        }, dim: 0)
        hidden = hidden + layer.output.product(attended)
        let second = hidden.rmsNorm([model.hidden], weight: own(layer.middleNorm), eps: 1e-6)
        let gateUp = layer.gateUp.product(second).chunk(2, dim: 1)
        hidden = hidden + layer.down.product(gateUp[0].silu() * gateUp[1])
      }
      return hidden
    }
    let weights = layers.map { $0.queryKeyValue.byteCount + $0.output.byteCount + $0.gateUp.byteCount + $0.down.byteCount }
    return try row(
      "few_rows_layers", shape, bytes: weights.reduce(0, +), truth: operators(.float32), device: device,
      kernel: { kernel(input, cosine: cosine, sine: sine, table: contexts) }, operators: { operators(.bfloat16) })
  }
}
