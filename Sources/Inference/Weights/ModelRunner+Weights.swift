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
      if let place = places[weight.name] { put(place.part(of: weight.tensor), at: place) }
    }
    Runtime.synchronize(parallel.device)
  }

  /// Copies this rank's own parts into the model. The model's memory keeps its place, so what was recorded with it (a graph
  /// of kernels) stays valid.
  func install(parts: [String: Tensor]) {
    for (name, part) in parts { if let place = places[name] { put(part, at: place) } }
    Runtime.synchronize(parallel.device)
  }

  /// Copies what slices have of this rank's parts into the model.
  func write(_ slices: [WeightSlice]) {
    for slice in slices {
      guard let place = places[slice.shard.name], let common = place.piece.box.intersection(slice.shard.box) else { continue }
      place.tensor.narrowed(from: place.piece.box, to: common)
        .copy_(slice.tensor.narrowed(from: slice.shard.box, to: common), nonBlocking: true)
    }
    Runtime.synchronize(parallel.device)
  }

  private func put(_ part: Tensor, at place: Place) { _ = place.tensor.copy_(part) }

  /// Fills this rank's part of a whole tensor on the CPU.
  func export(_ name: String, into whole: Tensor) {
    if let place = places[name] { _ = place.part(of: whole).copy_(place.tensor) }
  }

  func resetWeights() { for parameter in model.table.parameters { _ = parameter.tensor.fill_(-7) } }

  // MARK: Memory

  /// - Parameter keepsWeights: in host memory, where those of a CPU lie already.
  func release(_ tags: Set<MemoryTag>, keepsWeights: Bool) throws {
    let isOnHost = parallel.device.kind == .cpu
    if tags.contains(.keyValueCache) { cache.empty() }
    if tags.contains(.weights) {
      if keepsWeights, !isOnHost { stashedWeights = model.table.parameters.map { $0.tensor.to(device: .cpu, copy: true) } }
      if !(keepsWeights && isOnHost) { for parameter in model.table.parameters { parameter.tensor.emptyStorage() } }
    }
    if !isOnHost { try DeviceMemory.emptyCache() }
  }

  func resume(_ tags: Set<MemoryTag>) {
    if tags.contains(.keyValueCache) { cache.refill() }
    guard tags.contains(.weights) else { return }
    for (index, parameter) in model.table.parameters.enumerated() where parameter.tensor.storageByteCount == 0 {
      parameter.tensor.refillStorage(bytes: parameter.tensor.byteCount)
      if !stashedWeights.isEmpty { _ = parameter.tensor.copy_(stashedWeights[index]) }
    }
    stashedWeights = []
  }
}
