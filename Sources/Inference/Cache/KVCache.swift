import Models
import Torch

/// The keys and values of all live requests, of this rank's heads: per layer
/// `[pages · pageSize, keyValueHeads, headDimension]`, where values may have a dimension of their own.
///
/// Position `p` of a request lives in the slot `page · pageSize + p mod pageSize` of its page table. Slots are written
/// before they are read, so the memory starts as it is found: on a CPU what is never used takes none.
///
/// They are kept in a type of their own: as e4m3 without scales, what is larger than 448 becomes 448 (SGLang's fp8_e4m3
/// where a checkpoint has no scales of keys and values).
public struct KVCache {
  public let pageSize: Int
  public let pageCount: Int
  /// Of layers without keys and values they have no memory.
  let keys: [Tensor]
  let values: [Tensor]
  /// What such layers keep instead; nil: there are none.
  let states: StateCache?
  /// Where keys and values lie at addresses that stay; nil: they have memory of their own.
  private let region: DeviceRegion?

  /// - Parameters:
  ///   - tensorParallelSize: ranks that share the heads.
  ///   - stateSlots: places for the states of requests, in a model with layers that keep some.
  ///   - stateType: that the inputs of such layers come in; nil: `dtype`.
  ///   - keepsAddresses: memory of a GPU comes back to the same addresses, where the driver can do that.
  public init(
    _ configuration: ModelConfiguration, pageCount: Int, pageSize: Int, dtype: DType, device: Device,
    tensorParallelSize: Int = 1, stateSlots: Int = 0, stateType: DType? = nil, keepsAddresses: Bool = false
  ) {
    (self.pageSize, self.pageCount) = (pageSize, pageCount)
    let heads = Self.headCount(configuration, tensorParallelSize)
    let attentionLayers = Set(configuration.attentionLayers)
    func shapes(_ dimension: Int) -> [[Int]] {
      (0..<configuration.layerCount).map { [attentionLayers.contains($0) ? pageCount * pageSize : 0, heads, dimension] }
    }
    let (keyShapes, valueShapes) = (shapes(configuration.headDimension), shapes(configuration.valueHeadDimension))
    states = configuration.linearAttention.map {
      StateCache(
        $0, slotCount: stateSlots, dtype: stateType ?? dtype, device: device, tensorParallelSize: tensorParallelSize)
    }
    guard keepsAddresses, device.kind == .cuda, let (region, tensors) = try? Self.region(keyShapes + valueShapes, dtype, device)
    else {
      region = nil
      func memory(_ shapes: [[Int]]) -> [Tensor] { shapes.map { .empty($0, dtype: dtype, device: device) } }
      (keys, values) = (memory(keyShapes), memory(valueShapes))
      return
    }
    self.region = region
    (keys, values) = (Array(tensors.prefix(keyShapes.count)), Array(tensors.dropFirst(keyShapes.count)))
  }

  /// Tensors one behind another in memory whose addresses stay.
  private static func region(_ shapes: [[Int]], _ dtype: DType, _ device: Device) throws -> (DeviceRegion, [Tensor]) {
    let alignment = 256
    var ranges: [Range<Int>] = []
    for shape in shapes {
      let start = ((ranges.last?.upperBound ?? 0) + alignment - 1) / alignment * alignment
      ranges.append(start..<start + shape.reduce(dtype.size, *))
    }
    let region = try DeviceRegion(byteCount: ranges.last?.upperBound ?? 0, on: device)
    let bytes = try region.bytes()
    return (region, zip(shapes, ranges).map { bytes[$1].viewing(dtype).view($0) })
  }

  /// Whether memory that was let go of comes back to the same addresses.
  var keepsAddresses: Bool { region != nil && states == nil }

  var dtype: DType { keys[0].dtype }
  var keyDimension: Int { keys[0].size(2) }
  var valueDimension: Int { values[0].size(2) }

  /// Key-value heads of a rank; where there are more ranks than heads, several hold the same one.
  private static func headCount(_ configuration: ModelConfiguration, _ tensorParallelSize: Int) -> Int {
    max(configuration.keyValueHeadCount / tensorParallelSize, 1)
  }

  /// What one token takes in all layers, on each rank.
  public static func bytesPerToken(
    _ configuration: ModelConfiguration, dtype: DType, tensorParallelSize: Int = 1
  ) -> Int {
    configuration.attentionLayers.count * headCount(configuration, tensorParallelSize)
      * (configuration.headDimension + configuration.valueHeadDimension) * dtype.size
  }

  /// Gives the memory back; `refill` must come before the next use.
  func empty() throws {
    if let region { try region.empty() } else { for tensor in keys + values { tensor.emptyStorage() } }
    states?.empty()
  }

  func refill() throws {
    if let region { try region.refill() } else { for tensor in keys + values { tensor.refillStorage(bytes: tensor.byteCount) } }
    states?.refill()
  }

  /// Takes keys and values of all layers from slots to others, all at once. `[T]`, int64.
  func move(from sources: Tensor, to destinations: Tensor) {
    for tensor in keys + values { tensor.moveRows(from: sources, to: destinations) }
  }

  /// Writes the keys and values of new tokens. `slots`: `[T]`, int64.
  /// - Returns: them as they are read again, in the type that they came in.
  func write(key: Tensor, value: Tensor, slots: Tensor, layer: Int) -> (key: Tensor, value: Tensor) {
    let (keys, values) = (keys[layer], values[layer])
    if Kernels.writePages(key: key, value: value, keys: keys, values: values, slots: slots) { return (key, value) }
    return (write(key, to: keys, slots), write(value, to: values, slots))
  }

  private func write(_ new: Tensor, to memory: Tensor, _ slots: Tensor) -> Tensor {
    guard new.dtype != memory.dtype else {
      _ = memory.indexCopy_(0, index: slots, source: new)
      return new
    }
    guard memory.dtype == .float8e4m3 else {
      let kept = new.to(dtype: memory.dtype)
      _ = memory.indexCopy_(0, index: slots, source: kept)
      return kept.to(dtype: new.dtype)
    }
    let kept = new.clamped(-Float8Matrix.largest, max: Float8Matrix.largest).to(dtype: .float8e4m3)
    // Bytes can be copied by index on every device.
    _ = memory.viewing(.uint8).indexCopy_(0, index: slots, source: kept.viewing(.uint8))
    return kept.to(dtype: new.dtype)
  }
}
