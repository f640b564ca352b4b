import Testing
import Torch

@Suite struct AutogradTests {
  private func leaf(_ values: [Float]) -> Tensor {
    let tensor = Tensor(values)
    tensor.requiresGrad = true
    return tensor
  }

  @Test func gradientsAccumulateInLeaves() {
    let x = leaf([1, 2, 3])
    let y = leaf([4, 5, 6])
    let loss = (x * y + x.square()).sum()
    #expect(x.isLeaf && !loss.isLeaf && loss.requiresGrad)
    loss.backward(retainGraph: true)
    #expect(x.grad?.array(Float.self) == [6, 9, 12] && y.grad?.array(Float.self) == [1, 2, 3])
    loss.backward()
    #expect(y.grad?.array(Float.self) == [2, 4, 6])
    y.grad = nil
    #expect(y.grad == nil)
  }

  @Test func aSecondBackwardNeedsTheGraph() {
    let x = leaf([1])
    let loss = x.exp()
    loss.backward()
    #expect(message { try catchingTorchErrors { loss.backward() } }?.contains("second time") == true)
  }

  @Test func noGradientScopesNestAndEnd() throws {
    struct Stop: Error {}
    let x = leaf([2])
    withoutGradients {
      #expect(!gradientsEnabled && !(x * 2).requiresGrad)
      withGradients(true) { #expect((x * 2).requiresGrad) }
      #expect(!gradientsEnabled)
    }
    #expect(throws: Stop.self) { try withoutGradients { throw Stop() } }
    #expect(gradientsEnabled && (x * 2).requiresGrad)
  }

  @Test func detachCutsTheGraphAndSharesMemory() {
    let x = leaf([2, 3])
    let cut = (x * 2).detached()
    #expect(!cut.requiresGrad && x.detached().sharesStorage(with: x))
    (cut * x).sum().backward()
    #expect(x.grad?.array(Float.self) == [4, 6])
  }

  @Test func gradientOfASubset() throws {
    let x = leaf([1, 2])
    let y = leaf([3, 4])
    let z = leaf([0, 0])
    let loss = (x * y).sum()
    let found = Tensor.gradients(of: [loss], by: [y], retainGraph: true)
    #expect(found[0]?.array(Float.self) == [1, 2])
    let unused = Tensor.gradients(of: [loss], by: [z, x], retainGraph: true, allowUnused: true)
    #expect(unused[0] == nil && unused[1]?.array(Float.self) == [3, 4])
    #expect(x.grad == nil && y.grad == nil)
    loss.backward(retainGraph: true, inputs: [x])
    #expect(x.grad?.array(Float.self) == [3, 4] && y.grad == nil)
    #expect(message { try catchingTorchErrors { _ = Tensor.gradients(of: [loss], by: [z]) } } != nil)
  }

  @Test func gradientsOfGradients() {
    let x = leaf([2])
    let first = Tensor.gradients(of: [x.square() * x], by: [x], createGraph: true)[0]!
    #expect(first.array(Float.self) == [12])
    #expect(Tensor.gradients(of: [first], by: [x])[0]?.array(Float.self) == [12])
  }

  @Test func outputsThatAreNotNumbersNeedAGradient() {
    let x = leaf([1, 2])
    #expect(message { try catchingTorchErrors { (x * 3).backward() } }?.contains("scalar outputs") == true)
    (x * 3).backward(gradient: Tensor([1, 10] as [Float]))
    #expect(x.grad?.array(Float.self) == [3, 30])
    #expect(message { try catchingTorchErrors { x.grad = Tensor.ones([3]) } }?.contains("shape [3]") == true)
  }

  @Test func integersHaveNoGradients() {
    #expect(message { try catchingTorchErrors { Tensor([1]).requiresGrad = true } }?.contains("floating point") == true)
  }

  // MARK: Hooks

  @Test func hooksSeeAndReplaceGradients() {
    let x = leaf([1, 2])
    let middle = x * 2
    var seen: [[Float]] = []
    middle.registerHook {
      seen.append($0.array())
      return nil
    }
    middle.registerHook { $0 * 10 }
    middle.sum().backward()
    #expect(seen == [[1, 1]] && x.grad?.array(Float.self) == [20, 20])
  }

  @Test func postAccumulateHooksRunInOrderAfterTheGradientIsThere() {
    let x = leaf([3])
    var calls: [String] = []
    x.registerPostAccumulateHook { calls.append("first \($0.grad!.item())") }
    x.registerPostAccumulateHook { leaf in
      calls.append("second \(leaf.grad!.item())")
      leaf.grad = nil
    }
    (x * x).sum().backward()
    (x * 5).sum().backward()
    #expect(calls == ["first 6.0", "second 6.0", "first 5.0", "second 5.0"] && x.grad == nil)
    #expect(message { try catchingTorchErrors { (x * 2).registerPostAccumulateHook { _ in } } }?.contains("leaf") == true)
  }

  @Test func errorsInHooksArrive() {
    let x = leaf([1, 2])
    let y = x * 2
    y.registerHook { $0.view([3]) }
    #expect(message { try catchingTorchErrors { y.sum().backward() } }?.contains("shape '[3]'") == true)

    let z = leaf([1])
    z.registerPostAccumulateHook { _ = $0.view([4]) }
    #expect(message { try catchingTorchErrors { z.exp().backward() } }?.contains("shape '[4]'") == true)
  }

  @Test func hooksLiveAsLongAsTheirTensor() {
    let census = Census()
    do {
      let x = leaf([1])
      let (first, second) = (census.citizen(), census.citizen())
      x.registerHook { _ in withExtendedLifetime(first) { nil } }
      x.registerPostAccumulateHook { _ in withExtendedLifetime(second) {} }
      x.exp().backward()
      x.exp().backward()
    }
    #expect(census.count == 0)
    let failed = census.citizen()
    _ = message { try catchingTorchErrors { Tensor.ones([1]).registerHook { _ in withExtendedLifetime(failed) { nil } } } }
    #expect(census.count == 1)
  }

  // MARK: Storage

  /// What FSDP does: weights that autograd has saved are freed and come back before the backward.
  @Test func savedTensorsSeeARefilledStorage() {
    let shard = Tensor([1, 2, 3, 4] as [Float])
    let full = shard.clone()
    let x = leaf([5, 6])
    let output = (full.view([2, 2]) * x).sum()
    let storage = full.uncounted()
    storage.emptyStorage()
    #expect(full.storageByteCount == 0 && full.shape == [4])
    storage.refillStorage(bytes: 16)
    storage.copy_(shard * 10)
    output.backward()
    #expect(x.grad?.array(Float.self) == [40, 60])
    #expect(full.array(Float.self) == [10, 20, 30, 40])
  }

  /// Without `uncounted` autograd would refuse what was written behind its back.
  @Test func countedWritesAreNoticed() {
    let full = Tensor([1, 2] as [Float])
    let x = leaf([5, 6])
    let output = (full * x).sum()
    full.mul_(2)
    #expect(message { try catchingTorchErrors { output.backward() } }?.contains("inplace operation") == true)
  }

  @Test func emptiedStoragesAreNotRead() {
    let tensor = Tensor.ones([4])
    tensor.emptyStorage()
    #expect(message { try catchingTorchErrors { _ = tensor.array(Float.self) } }?.contains("has no memory") == true)
    tensor.refillStorage(bytes: 16)
    #expect(message { try catchingTorchErrors { tensor.refillStorage(bytes: 16) } }?.contains("emptied") == true)
    let census = Census()
    let borrowed = census.tensor([1])
    #expect(message { try catchingTorchErrors { borrowed.emptyStorage() } }?.contains("borrowed") == true)
  }

  @Test func setDataExchangesMemory() {
    let parameter = leaf([1, 2])
    let other = Tensor([7, 8] as [Float])
    parameter.setData(other)
    #expect(parameter.requiresGrad && parameter.sharesStorage(with: other) && parameter.array(Float.self) == [7, 8])
  }
}
