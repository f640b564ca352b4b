import Foundation
import Testing
import Torch

@Suite struct ErrorScopeTests {
  @Test func theFirstErrorIsThrown() {
    let error = message {
      try catchingTorchErrors {
        let bad = Tensor.ones([2]) + Tensor.ones([3])
        #expect(!bad.isDefined)
        let worse = bad.view([7]).matmul(Tensor.ones([5]))
        #expect(!worse.isDefined)
        _ = Tensor.ones([2]).view([9])
      }
    }
    #expect(error?.contains("size of tensor a (2) must match the size of tensor b (3)") == true)
    #expect(error?.contains("C++") == false && error?.contains("frame #") == false)
  }

  @Test func aScopeWithoutErrorsReturns() throws {
    #expect(try catchingTorchErrors { Tensor.ones([2]).sum().item() } == 2)
    #expect(throws: Never.self) { try catchingTorchErrors {} }
  }

  @Test func swiftErrorsPass() {
    struct Mine: Error {}
    #expect(throws: Mine.self) { try catchingTorchErrors { throw Mine() } }
    // libtorch's came first.
    #expect(throws: TorchError.self) {
      try catchingTorchErrors {
        _ = Tensor.ones([2]).view([3])
        throw Mine()
      }
    }
  }

  @Test func anInnerScopeKeepsItsErrorsToItself() throws {
    let value = try catchingTorchErrors {
      #expect(throws: TorchError.self) { try catchingTorchErrors { _ = Tensor.ones([2]).view([3]) } }
      return Tensor.ones([2]).sum().item()
    }
    #expect(value == 2)
  }

  @Test func anOuterErrorSurvivesAnInnerScope() {
    var innerRan = false
    var inner: String?
    let outer = message {
      try catchingTorchErrors {
        _ = Tensor.ones([2]).view([3])
        inner = message { try catchingTorchErrors { innerRan = true } }
      }
    }
    #expect(outer?.contains("shape '[3]' is invalid for input of size 2") == true)
    #expect(inner == outer && !innerRan)
  }

  @Test func errorsBelongToTheirThread() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for size in 3..<11 {
        group.addTask {
          for _ in 0..<50 {
            let error = message { try catchingTorchErrors { _ = Tensor.ones([2]).view([size]) } }
            #expect(error?.contains("'[\(size)]'") == true)
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Test func outsideAnyScopeTheProcessStopsWithTheMessage() async throws {
    let result = try #require(
      await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
        _ = Tensor.ones([2]).view([3])
      })
    #expect(String(decoding: result.standardErrorContent, as: UTF8.self).contains("shape '[3]' is invalid"))
  }

  // MARK: What a failed operation gives

  @Test func allPropertiesOfAFailedResult() {
    let used = "the result of a failed operation was used"
    let properties: [(String, (Tensor) -> Void)] = [
      ("shape", { #expect($0.shape.allSatisfy { $0 == 1 } && $0.shape[2] == 1) }),
      ("strides", { _ = $0.strides[1] }), ("dimensionCount", { _ = $0.dimensionCount }),
      ("size", { _ = 10 / $0.size(0) }), ("count", { _ = 10 / $0.count }), ("byteCount", { _ = $0.byteCount }),
      ("dtype", { _ = $0.dtype }), ("device", { #expect($0.device == .cpu) }), ("isContiguous", { _ = $0.isContiguous }),
      ("sharesStorage", { _ = Tensor.ones([1]).sharesStorage(with: $0) }), ("item", { _ = $0.item() }),
      ("intItem", { _ = $0.intItem() }), ("array", { #expect($0.array(Float.self).isEmpty) }),
      ("withBytes", { $0.withBytes { #expect($0.isEmpty) } }),
      ("withMutableBytes", { $0.withMutableBytes { #expect($0.isEmpty) } }),
      ("to", { #expect(!$0.to(dtype: .int8, device: .cpu).isDefined) }),
      ("contiguous", { #expect(!$0.contiguous().isDefined) }), ("clone", { #expect(!$0.clone().isDefined) }),
      ("pinned", { #expect(!$0.pinned().isDefined) }), ("detached", { #expect(!$0.detached().isDefined) }),
      ("uncounted", { _ = $0.uncounted() }), ("storageByteCount", { _ = $0.storageByteCount }),
      ("emptyStorage", { $0.emptyStorage() }), ("refillStorage", { $0.refillStorage(bytes: 8) }),
      ("requiresGrad", { _ = $0.requiresGrad }), ("set requiresGrad", { $0.requiresGrad = true }),
      ("isLeaf", { _ = $0.isLeaf }), ("grad", { #expect($0.grad == nil) }), ("set grad", { $0.grad = Tensor.ones([1]) }),
      ("set its grad", { Tensor.ones([1]).grad = $0 }), ("setData", { Tensor.ones([1]).setData($0) }),
      ("backward", { $0.backward() }), ("backward inputs", { Tensor.ones([1]).backward(inputs: [$0]) }),
      ("gradients", { _ = Tensor.gradients(of: [$0], by: [Tensor.ones([1])]) }),
      ("gradients by", { _ = Tensor.gradients(of: [Tensor.ones([1])], by: [$0]) }),
      ("hook", { $0.registerHook { $0 } }), ("post-accumulate hook", { $0.registerPostAccumulateHook { _ in } }),
      ("function", { x in _ = Tensor.function("f", input: x, forward: { x.clone() }) { $0 } }),
      ("function of", { x in _ = Tensor.function("f", inputs: [x], forward: { [Tensor.ones([1])] }) { $0 } }),
      ("checkpoint", { _ = Tensor.checkpoint("c", input: $0, parameters: []) { $0 + 1 } }),
      ("index", { _ = Tensor.ones([1]).index([$0]) }), ("index of", { _ = $0.index([Tensor([0])]) }),
      ("indexPut", { Tensor.ones([1]).indexPut_([Tensor([0])], $0) }),
      ("emptyLike", { _ = $0.emptyLike() }), ("zerosLike", { _ = $0.zerosLike() }),
      ("generator state", { Generator(seed: 1).state = $0 }),
    ]
    for (name, use) in properties {
      let failed = failedTensor()
      #expect(message { try catchingTorchErrors { use(failed) } } == used, "\(name)")
      #expect(failed.description == "[the result of a failed operation]")
      #expect(!failed.isDefined)
    }
  }

  /// With any one of its tensors, and with all of them, being the result of a failed operation.
  @Test func everyOperatorRefusesFailedResults() {
    let operators = EveryOperator().entries
    #expect(operators.count > 200)
    for entry in operators {
      for bad in Array((0..<entry.tensorCount).map { [$0] }) + [Array(0..<entry.tensorCount)] {
        let error = message {
          let failed = failedTensor()
          try catchingTorchErrors { entry.call { bad.contains($0) ? failed : Tensor.ones([2, 2]) } }
        }
        #expect(error == "the result of a failed operation was used", "\(entry.name), tensors \(bad)")
      }
    }
  }

  @Test func modelCodeRunsOnToTheEndOfItsScope() {
    let weight = Tensor.ones([4, 4])
    weight.requiresGrad = true
    let error = message {
      try catchingTorchErrors {
        var x = Tensor.ones([2, 3])
        for _ in 0..<3 {
          x = x.linear(weight).rmsNorm([x.shape[1]]).silu()
          let (values, _) = x.topk(1)
          x = x - values.view([x.size(0), x.count / x.size(0)])
        }
        x.chunk(2, dim: 1).first?.sum().backward()
        _ = Tensor.cat([x, x]).softmax(-1).array(Float.self)
      }
    }
    #expect(error?.contains("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x4)") == true)
    #expect(weight.grad == nil)
  }

  @Test func failuresDoNotLeak() throws {
    func resident() throws -> Int {
      Int(try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")[1])! * 4096
    }
    let tensor = Tensor.ones([16, 16])
    func work(_ count: Int) {
      for _ in 0..<count {
        _ = message { try catchingTorchErrors { _ = (tensor + Tensor.ones([3])).view([9]).chunk(2) } }
        _ = (tensor.view([256]) + 1).chunk(4).count
      }
    }
    work(500)
    let before = try resident()
    work(5000)
    #expect(try resident() - before < 8 << 20)
  }

  /// What picks from several results goes on as what uses one does.
  @Test func aFailedListHasSomethingToPick() {
    let error = message {
      try catchingTorchErrors {
        let parts = Tensor.ones([2]).chunk(2, dim: 5)
        _ = parts[1] + 1
      }
    }
    #expect(error?.contains("Dimension out of range") == true)
  }
}
