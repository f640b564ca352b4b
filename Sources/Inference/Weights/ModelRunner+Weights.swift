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
    change {
      for weight in weights {
        for place in places[weight.name] ?? [] { place.install(weight) }
      }
    }
  }

  /// Copies this rank's own parts into the model, by its names for them; where it keeps a weight as e4m3 those of whole
  /// weights. The model's memory keeps its place, so what was recorded with it (a graph of kernels) stays valid.
  func install(parts: [String: Tensor]) {
    change { for (name, part) in parts { placesByWeight[name]?.install(part: part) } }
  }

  /// Copies what slices have of this rank's parts into the model.
  func write(_ slices: [WeightSlice]) {
    change { WeightCopies(from: slices, to: placesByWeight).run() }
  }

  /// Remembers slices that `copyLinkedWeights` copies from.
  func link(_ slices: [WeightSlice]) { linkedWeights = WeightCopies(from: slices, to: placesByWeight) }

  func copyLinkedWeights() {
    change { linkedWeights?.run() }
  }

  /// Fills this rank's part of a whole tensor on the CPU.
  func export(_ name: String, into whole: Tensor) {
    if let found = places[name] {
      for place in found {
        let part = place.part(of: whole)
        _ = part.copy_(place.tensor.reshape(part.shape))
      }
    } else if let suffix = Float8Scaling.scaleSuffixes.first(where: name.hasSuffix) {
      for place in places[String(name.dropLast(suffix.count))] ?? [] { place.exportScales(into: whole) }
    }
  }

  func resetWeights() {
    change {
      for parameter in model.table.parameters {
        _ = parameter.tensor.fill_(-7)
        _ = parameter.scales?.fill_(1)
      }
    }
  }

  /// All that writes to the weights, or lets their memory go, does so in here; it is done when this returns.
  private func change(_ body: () throws -> Void) rethrows {
    try packedWeights.change(body)
    Runtime.synchronize(parallel.device)
  }

  // MARK: Memory

  /// All that is held here, and whether updates may leave it out: a draft head's weights.
  var weights: [(tensor: Tensor, isOfHead: Bool)] {
    model.table.parameters.flatMap { parameter in
      parameter.tensors.map { ($0, model.configuration.isOfPredictionLayer(parameter.name)) }
    } + (head?.table?.parameters ?? []).flatMap { $0.tensors.map { ($0, true) } }
  }

  /// - Parameter keepsWeights: in host memory, where those of a CPU lie already. A draft head's are kept in any case.
  func release(_ tags: Set<MemoryTag>, keepsWeights: Bool) throws {
    if tags.contains(.weights) { adapters?.leaveDevice() }
    let isOnHost = parallel.device.kind == .cpu
    if tags.contains(.keyValueCache) {
      try cache.empty()
      try headRunner?.empty()
    }
    if tags.contains(.weights) {
      for (index, weight) in weights.enumerated() where !isOnHost && (keepsWeights || weight.isOfHead) {
        let stash = stashes[index] ?? .emptyPinned(weight.tensor.shape, dtype: weight.tensor.dtype)
        stash.copy_(weight.tensor, nonBlocking: true)
        stashes[index] = stash
        stashed.insert(index)
      }
      Runtime.synchronize(parallel.device)
      try change {
        if let weightRegion {
          try weightRegion.empty()
        } else {
          for weight in weights where !(isOnHost && (keepsWeights || weight.isOfHead)) { weight.tensor.emptyStorage() }
        }
      }
    }
    if !isOnHost { try DeviceMemory.emptyCache() }
  }

  func resume(_ tags: Set<MemoryTag>) throws {
    if tags.contains(.keyValueCache) {
      try cache.refill()
      try headRunner?.refill()
    }
    guard tags.contains(.weights) else { return }
    try change {
      if let weightRegion {
        try weightRegion.refill()
      } else {
        for weight in weights where weight.tensor.storageByteCount == 0 {
          weight.tensor.refillStorage(bytes: weight.tensor.byteCount)
        }
      }
      for (index, weight) in weights.enumerated() where stashed.contains(index) {
        _ = weight.tensor.copy_(stashes[index]!, nonBlocking: true)
      }
      stashed = []
    }
  }
}
