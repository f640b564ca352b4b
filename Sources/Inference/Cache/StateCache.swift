import Models
import Torch

/// What layers that go along a sequence with a state keep of live requests, of this rank's heads: per such layer the
/// window of its convolution, `[slots, taps - 1, channels]`, and its memory, fp32 `[slots, valueHeads, keyDimension,
/// valueDimension]`.
///
/// A request has one slot from when it is admitted until it leaves. The slot holds the states after its computed tokens;
/// before the first one it holds what another request left, which is not looked at. Prefixes that others may begin with
/// have slots of their own.
struct StateCache {
  private let windows, memories: [Int: Tensor]

  /// - Parameter tensorParallelSize: ranks that share the heads.
  init(
    _ linear: LinearAttentionConfiguration, slotCount: Int, dtype: DType, device: Device, tensorParallelSize: Int
  ) {
    func perLayer(_ shape: [Int], _ dtype: DType) -> [Int: Tensor] {
      Dictionary(uniqueKeysWithValues: linear.layers.map { ($0, .empty([slotCount] + shape, dtype: dtype, device: device)) })
    }
    windows = perLayer([linear.taps - 1, linear.channelCount / tensorParallelSize], dtype)
    memories = perLayer(
      [linear.valueHeadCount / tensorParallelSize, linear.keyDimension, linear.valueDimension], .float32)
  }

  /// What one request takes in all layers, on each rank.
  static func bytesPerRequest(
    _ linear: LinearAttentionConfiguration, dtype: DType, tensorParallelSize: Int
  ) -> Int {
    let window = (linear.taps - 1) * linear.channelCount * dtype.size
    let memory = linear.valueHeadCount * linear.keyDimension * linear.valueDimension * DType.float32.size
    return linear.layers.count * (window + memory) / tensorParallelSize
  }

  private var tensors: [Tensor] { Array(windows.values) + Array(memories.values) }

  /// Gives the memory back; `refill` must come before the next use.
  func empty() { for tensor in tensors { tensor.emptyStorage() } }

  func refill() { for tensor in tensors { tensor.refillStorage(bytes: tensor.byteCount) } }

  /// - Parameters:
  ///   - slots: `[sequences]`, int64
  ///   - fresh: those of the sequences that begin, int64; nil: none does.
  func states(layer: Int, slots: Tensor, fresh: Tensor?) -> RecurrentStates {
    func taken(_ tensor: Tensor) -> Tensor {
      let states = tensor.indexSelect(0, index: slots)
      return fresh.map { states.indexFill_(0, index: $0, value: 0) } ?? states
    }
    return RecurrentStates(window: taken(windows[layer]!), memory: taken(memories[layer]!))
  }

  /// - Parameter rows: the sequences that are kept, int64; nil: all.
  func keep(_ states: RecurrentStates, layer: Int, slots: Tensor, rows: Tensor? = nil) {
    func keep(_ new: Tensor, in tensor: Tensor) {
      _ = tensor.indexCopy_(0, index: slots, source: rows.map { new.indexSelect(0, index: $0) } ?? new)
    }
    keep(states.window, in: windows[layer]!)
    keep(states.memory, in: memories[layer]!)
  }
}
