import Models
import Torch

extension ModelRunner {
  /// A part of a parameter, and the checkpoint tensor that it is, or is a part of.
  struct Place {
    let parameter: Parameter
    let rows: Range<Int>
    let piece: ParameterPiece

    var tensor: Tensor { parameter.tensor[rows] }

    /// This rank's part of the whole tensor.
    func part(of whole: Tensor) -> Tensor {
      guard let slice = piece.slice else { return whole }
      let range = slice.range(of: piece.shape[slice.dimension])
      return whole.narrow(slice.dimension, start: range.lowerBound, length: range.count)
    }
  }

  /// Copies weights into the model; those of which this rank holds nothing are for others.
  func install(_ weights: [StagedWeight]) {
    for weight in weights {
      places[weight.name]?.install(weight)
    }
    Runtime.synchronize(parallel.device)
  }

  /// Fills this rank's part of a whole tensor on the CPU.
  func export(_ name: String, into whole: Tensor) {
    if let place = places[name] {
      _ = place.part(of: whole).copy_(place.tensor)
    } else if let suffix = Float8Scaling.scaleSuffixes.first(where: name.hasSuffix) {
      places[String(name.dropLast(suffix.count))]?.exportScales(into: whole)
    }
  }

  func resetWeights() {
    for parameter in model.table.parameters {
      _ = parameter.tensor.fill_(-7)
      _ = parameter.scales?.fill_(1)
    }
  }

  // MARK: Memory

  /// - Parameter keepsWeights: in host memory, where those of a CPU lie already.
  func release(_ tags: Set<MemoryTag>, keepsWeights: Bool) throws {
    if tags.contains(.weights) { adapters?.leaveDevice() }
    let isOnHost = parallel.device.kind == .cpu
    if tags.contains(.keyValueCache) { cache.empty() }
    if tags.contains(.weights) {
      let weights = model.table.parameters.flatMap(\.tensors)
      if keepsWeights, !isOnHost { stashedWeights = weights.map { $0.to(device: .cpu, copy: true) } }
      if !(keepsWeights && isOnHost) { for weight in weights { weight.emptyStorage() } }
    }
    if !isOnHost { try DeviceMemory.emptyCache() }
  }

  func resume(_ tags: Set<MemoryTag>) {
    if tags.contains(.keyValueCache) { cache.refill() }
    guard tags.contains(.weights) else { return }
    for (index, weight) in model.table.parameters.flatMap(\.tensors).enumerated() where weight.storageByteCount == 0 {
      weight.refillStorage(bytes: weight.byteCount)
      if !stashedWeights.isEmpty { _ = weight.copy_(stashedWeights[index]) }
    }
    stashedWeights = []
  }
}
