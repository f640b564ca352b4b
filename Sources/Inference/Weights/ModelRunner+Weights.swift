import Models
import Torch

extension ModelRunner {
  /// A part of a parameter, and where the checkpoint keeps it.
  struct Place {
    let parameter: Parameter
    let rows: Range<Int>
    let piece: ParameterPiece
    let stored: StoredPart

    var tensor: Tensor { parameter.tensor[rows] }

    /// This rank's part of the whole tensor of the checkpoint, as a view of the shape that it has there.
    func part(of whole: Tensor) -> Tensor { stored.part(of: whole, piece) }
  }

  /// Copies weights into the model; those of which this rank holds nothing are for others.
  func install(_ weights: [StagedWeight]) {
    for weight in weights {
      for place in places[weight.name] ?? [] {
        let tensor = place.tensor
        tensor.copy_(place.part(of: weight.tensor).reshape(tensor.shape))
      }
    }
    Runtime.synchronize(parallel.device)
  }

  /// Fills this rank's part of a whole tensor on the CPU.
  func export(_ name: String, into whole: Tensor) {
    for place in places[name] ?? [] {
      let part = place.part(of: whole)
      part.copy_(place.tensor.reshape(part.shape))
    }
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
