import Models
import Torch

/// Weights on their way into a model, where either side has them as e4m3 with scales.
extension ModelWeights {
  /// What a tensor has to be that holds the scales of a weight; nil: it holds none.
  /// - Throws: `EngineError` when its shape cannot be that of the weight's scales.
  func scales(_ new: NamedTensor) throws -> WeightDescription? {
    let owners = owners(ofScales: new.name)
    guard let owner = owners.first else { return nil }
    guard owners.contains(where: { scaling(of: new.tensor.shape, $0) != nil }) else {
      throw EngineError(
        "The weight update holds the scales '\(new.name)' with shape \(new.tensor.shape), which \(owner.shape) numbers of "
          + "'\(owner.name)' do not have.")
    }
    return WeightDescription(name: new.name, shape: new.tensor.shape, dtype: .float32)
  }

  /// The weights whose scales may have this name: one, or a tensor of several that is called like one of them.
  private func owners(ofScales name: String) -> [WeightDescription] {
    guard let suffix = Float8Scaling.scaleSuffixes.first(where: name.hasSuffix) else { return [] }
    let owner = String(name.dropLast(suffix.count))
    let whole = shared[owner].map { WeightDescription(name: owner, shape: $0.shape, dtype: .float8e4m3) }
    return [whole, description(of: owner)].compactMap { $0 }
  }

  /// How scales of this shape are shared by the numbers of a weight.
  private func scaling(of shape: [Int], _ weight: WeightDescription) -> Float8Scaling? {
    let matrix = weight.shape.suffix(2)
    guard matrix.count == 2 else { return nil }
    let known = [scalings[weight.name], storedScaling, .publishedBlock, .row, .tensor].compactMap { $0 }
    return known.first { scaling in
      let wanted = Array(weight.shape.dropLast(2)) + scaling.storedShape(rows: matrix.first!, columns: matrix.last!)
      return shape == wanted || (scaling.groupSize == nil && shape.filter { $0 != 1 } == wanted.filter { $0 != 1 })
    }
  }

  /// The tensor of several weights that this is; nil: it is none.
  func shared(_ new: NamedTensor) -> SharedTensor? {
    shared[new.name].flatMap { $0.shape == new.tensor.shape ? $0 : nil }
  }

  /// A tensor as it waits: weights that the model keeps as e4m3 quantised, e4m3 as it is; nil: it is neither.
  func quantized(_ new: NamedTensor) -> [StagedWeight]? {
    if new.tensor.dtype == .float8e4m3 {
      return [StagedWeight(name: new.name, tensor: new.tensor.copiedToHost())]
    }
    func quantized(_ name: String, _ tensor: Tensor, _ scaling: Float8Scaling) -> StagedWeight {
      let matrix = Float8Matrix(quantizing: tensor.device.kind == .cpu ? tensor.to(device: device) : tensor, scaling)
      return StagedWeight(name: name, tensor: matrix.values.copiedToHost(), scales: matrix.scales.copiedToHost())
    }
    if let shared = shared(new) {
      return shared.members.map { quantized($0.name, $0.part(of: new.tensor), $0.scaling) }
    }
    return scalings[new.name].map { [quantized(new.name, new.tensor, $0)] }
  }

  /// The weights of a whole update, e4m3 with the scales that came with it, as the model keeps them.
  /// - Throws: `EngineError` about a weight or scales whose other half is missing.
  func joined(_ weights: [StagedWeight]) throws -> [StagedWeight] {
    let byName = Dictionary(weights.map { ($0.name, $0) }) { $1 }
    return try catchingTorchErrors {
      try withoutGradients { try weights.flatMap { try joined($0, byName) } }
    }
  }

  private func joined(_ weight: StagedWeight, _ all: [String: StagedWeight]) throws -> [StagedWeight] {
    if weight.tensor.dtype != .float8e4m3, let owner = owners(ofScales: weight.name).first {
      guard all[owner.name]?.tensor.dtype == .float8e4m3, all[owner.name]?.scales == nil else {
        throw EngineError(
          "The weight update holds the scales '\(weight.name)' without '\(owner.name)' as \(DType.float8e4m3.name); send both.")
      }
      return []
    }
    guard weight.tensor.dtype == .float8e4m3, weight.scales == nil else { return [weight] }
    let scales = Float8Scaling.scaleSuffixes.lazy.compactMap { all[weight.name + $0]?.tensor }.first
    let shared = shared(NamedTensor(weight.name, weight.tensor))
    let description = shared.map { WeightDescription(name: weight.name, shape: $0.shape, dtype: .float8e4m3) }
      ?? description(of: weight.name)
    guard let scales, let description, let sent = scaling(of: scales.shape, description) else {
      throw EngineError(
        "The weight update holds '\(weight.name)' as \(DType.float8e4m3.name) without its scales "
          + "'\(weight.name)\(Float8Scaling.scaleSuffixes[0])'; send both.")
    }
    if let shared {
      return try shared.members.map { member in
        guard let matrix = member.matrix(weight.tensor, scales: scales, sent) else {
          throw EngineError(
            "The weight update holds '\(weight.name)' as \(DType.float8e4m3.name) with \(sent.name), of which '\(member.name)' cannot be "
              + "taken; send plain numbers.")
        }
        return kept(matrix, sent, as: member.scaling, named: member.name)
      }
    }
    guard let own = scalings[weight.name] else {
      return [StagedWeight(name: weight.name, tensor: dequantized(weight.tensor, scales, sent, description.dtype))]
    }
    return [kept(Float8Matrix(values: weight.tensor, stored: scales, sent), sent, as: own, named: weight.name)]
  }

  /// What one matrix, or several of one tensor, stand for.
  private func dequantized(_ values: Tensor, _ scales: Tensor, _ scaling: Float8Scaling, _ dtype: DType) -> Tensor {
    guard values.shape.count == 3 else { return Float8Matrix(values: values, stored: scales, scaling).dequantized(dtype) }
    return .stack(
      (0..<values.size(0)).map { index in
        Float8Matrix(
          values: values.select(0, index: index), stored: scales.count == 1 ? scales : scales.select(0, index: index), scaling
        ).dequantized(dtype)
      }, dim: 0)
  }

  /// A matrix with scales as the model keeps them.
  private func kept(
    _ matrix: Float8Matrix, _ sent: Float8Scaling, as own: Float8Scaling, named name: String
  ) -> StagedWeight {
    let groups = [sent, own].map { $0.groupCount(matrix.values.size(1)) }
    let kept = sent.groupSize == own.groupSize || groups == [1, 1]
      ? matrix : Float8Matrix(quantizing: matrix.dequantized(.float32), own)
    return StagedWeight(name: name, tensor: kept.values, scales: kept.scales)
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
