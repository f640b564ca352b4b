import Checkpoints
import Torch

/// Where slices of an update go until all of them are there.
public enum WeightStaging: String, Sendable, Codable {
  /// Beside the model, in memory of the same kind (each rank's own part once more): the engine serves the old weights until
  /// the update ends, and for good if it does not.
  case beside
  /// Into the model itself, without a second copy. From the first slice until a whole update has come the engine serves
  /// nothing and requests wait: what is half old and half new is never sampled from.
  case inPlace
}

/// An update that comes as slices: which elements each rank of the engine has got, and, unless they go into the model at
/// once, their values.
struct SlicedUpdate {
  /// A rank's part of a checkpoint tensor.
  private struct Part {
    let shard: WeightShard
    let device: Device
    /// Whether it goes into the model once all of it is here.
    let waits: Bool
    var arrived: [TensorBox] = []
    var values: Tensor?
    /// Whether it went into the model.
    var isWritten = false

    /// Takes what a slice has of it.
    mutating func take(_ slice: WeightSlice) {
      guard !isWritten, let common = shard.box.intersection(slice.shard.box) else { return }
      let values = self.values ?? .empty(shard.box.sizes, dtype: shard.dtype, device: device)
      self.values = values
      values.narrowed(from: shard.box, to: common)
        .copy_(slice.tensor.narrowed(from: slice.shard.box, to: common), nonBlocking: true)
    }

    /// Gives its values away, where all are there.
    mutating func written() -> WeightSlice? {
      guard let values, arrived.hole(in: shard.box) == nil else { return nil }
      (self.values, isWritten) = (nil, true)
      return WeightSlice(shard, values)
    }
  }

  private let staging: WeightStaging
  private var parts: [[String: Part]]
  private let devices: [Device]

  /// - Parameters:
  ///   - shards: what each rank holds.
  ///   - devices: where.
  ///   - quantized: what is kept as e4m3. Half of a weight cannot be quantised: of an update in place, those that are not whole
  ///     yet wait beside the model.
  init(_ shards: [[WeightShard]], devices: [Device], staging: WeightStaging, quantized: Set<String>) {
    (self.staging, self.devices) = (staging, devices)
    parts = zip(shards, devices).map { shards, device in
      Dictionary(
        uniqueKeysWithValues: shards.map {
          ($0.name, Part(shard: $0, device: device, waits: staging == .beside || quantized.contains($0.name)))
        })
    }
  }

  /// Notes that slices are there.
  /// - Throws: `EngineError` about the first slice that is not of this model; nothing is noted then.
  mutating func note(_ slices: [WeightSlice]) throws {
    for slice in slices {
      let shard = slice.shard
      guard let own = parts.lazy.compactMap({ $0[shard.name] }).first?.shard else {
        throw EngineError("The weight update holds the tensor '\(shard.name)', which the model does not have.")
      }
      guard shard.shape == own.shape else {
        throw EngineError(
          "The weight update holds the tensor '\(shard.name)' with shape \(shard.shape), but the model's is \(own.shape).")
      }
      guard shard.box.fits(shard.shape), slice.tensor.shape == shard.box.sizes else {
        throw EngineError(
          "The weight update holds \(shard.box) of '\(shard.name)' as a tensor of shape \(slice.tensor.shape), which does not fit.")
      }
    }
    for rank in parts.indices {
      for slice in slices {
        guard let common = parts[rank][slice.shard.name]?.shard.box.intersection(slice.shard.box) else { continue }
        parts[rank][slice.shard.name]!.arrived.append(common)
      }
    }
  }

  /// Notes slices, and copies what waits.
  /// - Returns: what each rank writes into the model now, by rank; nil: all waits.
  /// - Throws: `EngineError` about the first slice that is not of this model; nothing is taken then.
  mutating func take(_ slices: [WeightSlice]) throws -> [[WeightSlice]]? {
    try note(slices)
    var written = Array(repeating: [WeightSlice](), count: parts.count)
    try catchingTorchErrors {
      for rank in parts.indices {
        var waiting: Set<String> = []
        for slice in slices {
          let name = slice.shard.name
          guard let part = parts[rank][name] else { continue }
          guard part.waits else {
            written[rank].append(slice)
            continue
          }
          parts[rank][name]!.take(slice)
          waiting.insert(name)
        }
        guard staging == .inPlace else { continue }
        written[rank] += waiting.compactMap { parts[rank][$0]!.written() }
      }
      // The sender may use the memory again as soon as this returns.
      for device in Set(devices) { Runtime.synchronize(device) }
    }
    return staging == .inPlace ? written : nil
  }

  /// Each rank's parts by name; none where they are in the model already.
  /// - Throws: `EngineError` that names what did not come.
  func finished() throws -> [[String: Tensor]] {
    for (rank, parts) in parts.enumerated() {
      for part in parts.values where !(part.shard.isOptional && part.arrived.isEmpty) {
        if let hole = part.arrived.hole(in: part.shard.box) {
          throw EngineError(
            "Nothing of the weight update was put in force, because \(hole) of '\(part.shard.name)' did not reach rank \(rank); begin again and send every tensor.")
        }
      }
    }
    return parts.map { $0.compactMapValues(\.values) }
  }
}
