/// The storages of some tensors, each once, one behind another.
package struct StorageLayout {
  package let byteCount: Int
  private let places: [(owner: Tensor, start: Int)]
  /// Storages begin at multiples of this.
  private static let alignment = 256

  package init(of tensors: [Tensor]) {
    var places: [(owner: Tensor, start: Int)] = []
    var known: Set<Int> = []
    var end = 0
    for tensor in tensors where tensor.count > 0 && known.insert(tensor.address - tensor.storageOffset).inserted {
      places.append((tensor, (end + Self.alignment - 1) / Self.alignment * Self.alignment))
      end = places.last!.start + tensor.storageByteCount
    }
    (self.places, byteCount) = (places, end)
  }

  /// Moves the storages, with what they hold, into a row of at least `byteCount` bytes on their device, which they keep. All
  /// views of them stay views.
  package func move(to memory: Tensor) {
    withoutGradients {
      for (owner, start) in places { owner.moveStorage(to: memory[start..<start + owner.storageByteCount]) }
    }
  }
}
