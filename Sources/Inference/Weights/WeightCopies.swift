import Checkpoints
import Torch

/// Copies from slices into what a rank holds of the weights. They can be made again whenever the slices have new values.
struct WeightCopies {
  /// The same elements, here and there.
  private var pairs: [(own: Tensor, new: Tensor)] = []
  /// What is kept as e4m3 is quantised whole.
  private var quantized: [(place: ModelRunner.Place, slices: [WeightSlice])] = []

  /// - Parameters:
  ///   - slices: of weights that are kept as e4m3, all of each.
  ///   - places: this rank's, by the model's names.
  init(from slices: [WeightSlice], to places: [String: ModelRunner.Place]) {
    var all: [String: [WeightSlice]] = [:]
    for slice in slices {
      guard let place = places[slice.shard.name] else { continue }
      if place.parameter.quantization != nil {
        all[slice.shard.name, default: []].append(slice)
      } else if let common = place.piece.box.intersection(slice.shard.box) {
        pairs.append(
          (
            place.tensor.narrowed(from: place.piece.box, to: common),
            slice.tensor.narrowed(from: slice.shard.box, to: common)
          ))
      }
    }
    quantized = all.map { (places[$0]!, $1) }
  }

  /// Queues them; what was queued before on the device is done first.
  func run() {
    for (own, new) in pairs { own.copy_(new, nonBlocking: true) }
    for (place, slices) in quantized {
      // From what the model computes with, however exact the slices are.
      place.install(part: whole(slices, on: place.tensor.device).to(dtype: place.parameter.dtype))
    }
  }

  private func whole(_ slices: [WeightSlice], on device: Device) -> Tensor {
    let first = slices[0]
    if slices.count == 1 { return first.tensor.to(device: device, nonBlocking: true) }
    let whole = Tensor.empty(first.shard.shape, dtype: first.tensor.dtype, device: device)
    let all = TensorBox(whole: first.shard.shape)
    for slice in slices { whole.narrowed(from: all, to: slice.shard.box).copy_(slice.tensor, nonBlocking: true) }
    return whole
  }
}
