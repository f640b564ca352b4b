import Testing

import Torch

/// Storages one behind another in memory that they are given.
@Suite struct StorageLayoutTests {
  @Test func whatMovesIsKept() {
    let flat = Tensor.arange(100, dtype: .float32)
    let (part, other) = (flat[10..<20], Tensor.ones([3], dtype: .float32))
    let layout = StorageLayout(of: [flat, part, other])
    #expect(layout.byteCount == 512 + 12)
    let memory = Tensor.zeros([layout.byteCount], dtype: .uint8)
    layout.move(to: memory)
    part.mul_(2)
    #expect(flat.address == memory.address && other.address == memory.address + 512)
    #expect(flat.array(Float.self) == (0..<100).map { Float((10..<20).contains($0) ? 2 * $0 : $0) })
    #expect(other.array(Float.self) == [1, 1, 1])
  }

  @Test func whatWasEmptiedTakesItsPlace() {
    let (flat, other) = (Tensor.arange(100, dtype: .float32), Tensor.ones([3], dtype: .float32))
    let view = flat[10..<20]
    let layout = StorageLayout(of: [flat, other])
    flat.emptyStorage()
    other.emptyStorage()
    let memory = Tensor.zeros([layout.byteCount], dtype: .uint8)
    layout.move(to: memory)
    _ = flat.fill_(3)
    _ = other.fill_(4)
    #expect(flat.address == memory.address && flat.storageByteCount == 400)
    #expect(view.array(Float.self) == [Float](repeating: 3, count: 10) && other.array(Float.self) == [4, 4, 4])
  }
}
