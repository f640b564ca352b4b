/// The storages of some tensors, each once, one behind another.
package struct StorageLayout {
  package let byteCount: Int
  private let places: [(owner: Tensor, range: Range<Int>)]
  /// Storages begin at multiples of this.
  private static let alignment = 256

  package init(of tensors: [Tensor]) {
    var places: [(owner: Tensor, range: Range<Int>)] = []
    var known: Set<Int> = []
    var end = 0
    for tensor in tensors where tensor.count > 0 && known.insert(tensor.address - tensor.storageOffset).inserted {
      let start = (end + Self.alignment - 1) / Self.alignment * Self.alignment
      end = start + tensor.storageByteCount
      places.append((tensor, start..<end))
    }
    (self.places, byteCount) = (places, end)
  }

  /// Moves the storages, with what they hold, into a row of at least `byteCount` bytes on their device, which they keep. All
  /// views of them stay views. Those that have been emptied since take their places as they are.
  package func move(to memory: Tensor) {
    withoutGradients {
      for (owner, range) in places { owner.moveStorage(to: memory[range]) }
    }
  }
}
