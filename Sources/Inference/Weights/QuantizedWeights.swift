import Models
import Torch

/// Weights on their way into a model, where either side has them as e4m3 with scales.
extension ModelWeights {
  /// What a tensor has to be that holds the scales of a weight; nil: it holds none.
  /// - Throws: `EngineError` when its shape cannot be that of the weight's scales.
  func scales(_ new: NamedTensor) throws -> WeightDescription? {
    guard let weight = weight(ofScales: new.name) else { return nil }
    guard scaling(of: new.tensor.shape, weight) != nil else {
      throw EngineError(
        "The weight update holds the scales '\(new.name)' with shape \(new.tensor.shape), which \(weight.shape) numbers of "
          + "'\(weight.name)' do not have.")
    }
    return WeightDescription(name: new.name, shape: new.tensor.shape, dtype: .float32)
  }

  /// The weight whose scales have this name.
  private func weight(ofScales name: String) -> WeightDescription? {
    for suffix in Float8Scaling.scaleSuffixes where name.hasSuffix(suffix) {
      return description(of: String(name.dropLast(suffix.count)))
    }
    return nil
  }

  /// How scales of this shape are shared by the numbers of a weight.
  private func scaling(of shape: [Int], _ weight: WeightDescription) -> Float8Scaling? {
    guard weight.shape.count == 2 else { return nil }
    let known = [scalings[weight.name], storedScaling, .publishedBlock, .row, .tensor].compactMap { $0 }
    return known.first { scaling in
      let wanted = scaling.storedShape(rows: weight.shape[0], columns: weight.shape[1])
      return shape == wanted || (scaling.groupSize == nil && shape.filter { $0 != 1 } == wanted.filter { $0 != 1 })
    }
  }

  /// A tensor as it waits: a weight that the model keeps as e4m3 quantised, e4m3 as it is; nil: it is neither.
  func quantized(_ new: NamedTensor) -> StagedWeight? {
    if new.tensor.dtype == .float8e4m3 {
      return StagedWeight(name: new.name, tensor: new.tensor.copiedToHost())
    }
    guard let scaling = scalings[new.name] else { return nil }
    let matrix = Float8Matrix(quantizing: new.tensor, scaling)
    return StagedWeight(name: new.name, tensor: matrix.values.copiedToHost(), scales: matrix.scales.copiedToHost())
  }

  /// The weights of a whole update, e4m3 with the scales that came with it, as the model keeps them.
  /// - Throws: `EngineError` about a weight or scales whose other half is missing.
  func joined(_ weights: [StagedWeight]) throws -> [StagedWeight] {
    let byName = Dictionary(weights.map { ($0.name, $0) }) { $1 }
    return try catchingTorchErrors {
      try withoutGradients { try weights.compactMap { try joined($0, byName) } }
    }
  }

  private func joined(_ weight: StagedWeight, _ all: [String: StagedWeight]) throws -> StagedWeight? {
    if weight.tensor.dtype != .float8e4m3, let owner = self.weight(ofScales: weight.name) {
      guard all[owner.name]?.tensor.dtype == .float8e4m3, all[owner.name]?.scales == nil else {
        throw EngineError(
          "The weight update holds the scales '\(weight.name)' without '\(owner.name)' as \(DType.float8e4m3.name); send both.")
      }
      return nil
    }
    guard weight.tensor.dtype == .float8e4m3, weight.scales == nil else { return weight }
    let scales = Float8Scaling.scaleSuffixes.lazy.compactMap { all[weight.name + $0]?.tensor }.first
    guard let scales, let description = description(of: weight.name), let sent = scaling(of: scales.shape, description) else {
      throw EngineError(
        "The weight update holds '\(weight.name)' as \(DType.float8e4m3.name) without its scales "
          + "'\(weight.name)\(Float8Scaling.scaleSuffixes[0])'; send both.")
    }
    let matrix = Float8Matrix(values: weight.tensor, stored: scales, sent)
    guard let own = scalings[weight.name] else {
      return StagedWeight(name: weight.name, tensor: matrix.dequantized(description.dtype))
    }
    let groups = [sent, own].map { $0.groupCount(weight.tensor.size(1)) }
    let kept = sent.groupSize == own.groupSize || groups == [1, 1] ? matrix : Float8Matrix(quantizing: matrix.dequantized(.float32), own)
    return StagedWeight(name: weight.name, tensor: kept.values, scales: kept.scales)
  }
}

extension StoredLayout.Entry {
  /// The numbers and the scales of a weight that is kept as e4m3.
  func float8Descriptions(_ scaling: Float8Scaling) -> [WeightDescription] {
    [
      WeightDescription(name: name, shape: shape, dtype: .float8e4m3),
      WeightDescription(
        name: name + scaling.scaleSuffix, shape: scaling.storedShape(rows: shape[0], columns: shape[1]),
        dtype: .float32),
    ]
  }
}

extension ModelRunner.Place {
  /// Copies this rank's part of a whole weight into the model.
  func install(_ weight: StagedWeight) {
    guard let scales = weight.scales, let own = parameter.float8?.rows(rows) else {
      let own = tensor
      _ = own.copy_(part(of: weight.tensor).reshape(own.shape))
      return
    }
    let part = Float8Matrix(values: weight.tensor, scales: scales, groupSize: own.groupSize).part(piece)
    _ = own.values.copy_(part.values)
    _ = own.scales.copy_(part.scales)
  }

  /// Copies a rank's part into the model; where it keeps the weight as e4m3, that of the whole tensor, quantised as such.
  func install(part: Tensor) {
    guard let scaling = parameter.quantization else {
      _ = tensor.copy_(part)
      return
    }
    let whole = Float8Matrix(quantizing: part, scaling)
    install(StagedWeight(name: stored.name, tensor: whole.values, scales: whole.scales))
  }

  /// Fills this rank's part of the weight's scales, as a checkpoint has them.
  func exportScales(into whole: Tensor) {
    guard let own = parameter.float8?.rows(rows), let scaling = parameter.quantization else { return }
    switch scaling {
    case .tensor: _ = whole.copy_(own.scales[0..<1].reshape([1]))
    case .row: _ = whole[piece.range(0)].copy_(own.scales)
    case .block(let height, _):
      // A block of rows is told by the rank that holds its first one.
      let range = piece.range(0)
      let first = (range.lowerBound + height - 1) / height
      let count = (range.upperBound + height - 1) / height - first
      guard count > 0 else { return }
      let groups = Float8Matrix.groups(of: piece.range(1), scaling.groupSize)
      _ = whole[first..<first + count].narrow(1, start: groups.lowerBound, length: groups.count)
        .copy_(own.scales.slice(0, start: first * height - range.lowerBound, end: nil, step: height))
    }
  }
}
