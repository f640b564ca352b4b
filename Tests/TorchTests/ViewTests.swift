import Testing
import Torch

@Suite struct ViewTests {
  @Test func viewsShareMemory() {
    let base = Tensor.arange(12, dtype: .float32).view([3, 4])
    let views = [base[1], base[1..<3], base.transpose(0, dim1: 1), base.narrow(1, start: 2, length: 2), base.unsqueeze(0)]
    for view in views {
      #expect(view.sharesStorage(with: base))
      view.zero_()
    }
    #expect(base.array(Float.self) == Array(repeating: 0, count: 12))
    #expect(!base.clone().sharesStorage(with: base))
    #expect(!base.transpose(0, dim1: 1).contiguous().sharesStorage(with: base))
  }

  @Test func viewsOutliveTheirBase() {
    var row: Tensor = Tensor.arange(12, dtype: .float32).view([3, 4])[2]
    #expect(row.array(Float.self) == [8, 9, 10, 11])
    row = row[1..<3]
    #expect(row.array(Float.self) == [9, 10] && row.storageByteCount == 48)
  }

  @Test func stridesAndContiguity() {
    let base = Tensor.zeros([2, 3, 4])
    #expect(base.strides == [12, 4, 1] && base.isContiguous)
    let permuted = base.permute([2, 0, 1])
    #expect(permuted.shape == [4, 2, 3] && permuted.strides == [1, 12, 4] && !permuted.isContiguous)
    #expect(permuted.size(-1) == 3 && permuted.dimensionCount == 3 && permuted.count == 24)
    #expect(base.expand([5, 2, 3, 4]).strides == [0, 12, 4, 1])
    #expect(Tensor(1).shape == [] && Tensor(1).strides == [])
  }

  @Test func inPlaceGivesTheTensorItself() {
    let a = Tensor.ones([2])
    let b = a.add_(1).mul_(3)
    #expect(a === b && a.array(Float.self) == [6, 6])
    let out = Tensor.zeros([2, 2])
    let left = Tensor([1, 2, 3, 4] as [Float], shape: [2, 2])
    #expect(left.mmOut(left, out: out) === out && out.array(Float.self) == [7, 10, 15, 22])
  }

  @Test func indexingWithTensors() {
    let table = Tensor.arange(6, dtype: .float32).view([3, 2])
    #expect(table.index([Tensor([2, 0])]).array(Float.self) == [4, 5, 0, 1])
    #expect(table.index([nil, Tensor([1])]).array(Float.self) == [1, 3, 5])
    table.indexPut_([Tensor([0, 0])], Tensor([10, 10] as [Float]), accumulate: true)
    #expect(table.array(Float.self) == [20, 21, 2, 3, 4, 5])
  }

  @Test func bytesOfAContiguousTensorAreNotCopied() {
    let tensor = Tensor([1, 2, 3] as [Float])
    tensor.withMutableBytes { $0.storeBytes(of: Float(9), toByteOffset: 4, as: Float.self) }
    #expect(tensor.array(Float.self) == [1, 9, 3])
    let address = tensor.withBytes { $0.baseAddress }
    #expect(address == tensor.withMutableBytes { UnsafeRawPointer($0.baseAddress) })
    #expect(message { try catchingTorchErrors { Tensor.zeros([2, 3]).t().withMutableBytes { _ in } } } != nil)
  }

  @Test func toGivesItselfWhenNothingChanges() {
    let tensor = Tensor.ones([3])
    #expect(tensor.to(dtype: .float32, device: .cpu).sharesStorage(with: tensor))
    #expect(!tensor.to(dtype: .float32, copy: true).sharesStorage(with: tensor))
  }

  // MARK: Borrowed memory

  @Test func borrowedMemoryIsReleasedOnceAfterTheLastView() {
    let memory = UnsafeMutablePointer<Float>.allocate(capacity: 6)
    memory.initialize(repeating: 2, count: 6)
    nonisolated(unsafe) var releases = 0
    var tensor: Tensor? = Tensor(borrowing: memory, shape: [2, 3], dtype: .float32) { releases += 1 }
    var view: Tensor? = tensor![1]
    #expect(view!.withBytes { $0.baseAddress } == UnsafeRawPointer(memory + 3))
    tensor = nil
    #expect(releases == 0)
    view!.mul_(4)
    #expect(memory[2] == 2 && memory[3] == 8)
    view = nil
    #expect(releases == 1)
    memory.deallocate()
  }

  @Test func borrowedMemoryIsReleasedWhenTheTensorCannotBeMade() {
    let memory = UnsafeMutablePointer<Float>.allocate(capacity: 1)
    defer { memory.deallocate() }
    nonisolated(unsafe) var releases = 0
    let error = message {
      try catchingTorchErrors { _ = Tensor(borrowing: memory, shape: [-1], dtype: .float32) { releases += 1 } }
    }
    #expect(error != nil && releases == 1)
  }

  @Test func autogradReleasesBorrowedMemory() {
    let census = Census()
    do {
      let weight = Tensor.ones([3])
      weight.requiresGrad = true
      let loss = (weight * census.tensor([1, 2, 3])).sum()
      #expect(census.count == 1)
      loss.backward()
      #expect(weight.grad?.array(Float.self) == [1, 2, 3])
    }
    #expect(census.count == 0)
  }
}
