import Testing
import Torch

@Suite struct CustomFunctionTests {
  private func leaf(_ shape: [Int], seed: UInt64) -> Tensor {
    let tensor = Tensor.randn(shape, generator: Generator(seed: seed))
    tensor.requiresGrad = true
    return tensor
  }

  private func silu(_ x: Tensor) -> Tensor {
    Tensor.function("Silu", input: x, forward: { x * x.sigmoid() }) { gradient in
      let s = x.sigmoid()
      return gradient * (s * (1 + x * (1 - s)))
    }
  }

  @Test func oneInputAgainstTheBuiltIn() {
    let (mine, reference) = (leaf([3, 5], seed: 1), leaf([3, 5], seed: 1))
    let factor = Tensor.randn([3, 5], generator: Generator(seed: 2))
    let output = silu(mine)
    #expect(output.requiresGrad && !output.isLeaf && isClose(output, reference.silu()))
    (output * factor).sum().backward()
    (reference.silu() * factor).sum().backward()
    #expect(isClose(mine.grad!, reference.grad!))
  }

  @Test func severalInputsAndOutputs() {
    let (a, b) = (leaf([4, 3], seed: 1), leaf([3, 2], seed: 2))
    let (c, d) = (leaf([4, 3], seed: 1), leaf([3, 2], seed: 2))
    var missing: [Bool] = []
    func mine(_ a: Tensor, _ b: Tensor) -> [Tensor] {
      Tensor.function("MatmulAndSum", inputs: [a, b]) { [a.matmul(b), a.sum([1])] } backward: { gradients in
        missing = gradients.map { $0 == nil }
        let byProduct = gradients[0] ?? .zeros([4, 2])
        let bySum = gradients[1] ?? .zeros([4])
        return [byProduct.matmul(b.t()) + bySum.unsqueeze(1), a.t().matmul(byProduct)]
      }
    }
    let outputs = mine(a, b)
    (outputs[0].square().sum() + outputs[1].exp().sum()).backward()
    #expect(missing == [false, false])
    (c.matmul(d).square().sum() + c.sum([1]).exp().sum()).backward()
    #expect(isClose(a.grad!, c.grad!, 1e-5) && isClose(b.grad!, d.grad!, 1e-5))

    // Only what reaches the loss has a gradient.
    mine(a, b)[1].sum().backward()
    #expect(missing == [true, false])
  }

  @Test func onlyInputsThatNeedOneGetAGradient() {
    let x = leaf([2], seed: 1)
    let constant = Tensor.ones([2])
    let output = Tensor.function("Scale", inputs: [constant, x]) { [x * constant] } backward: { [nil, $0[0]] }
    output[0].sum().backward()
    #expect(x.grad?.array(Float.self) == [1, 1] && constant.grad == nil)
    #expect(!Tensor.function("None", input: constant, forward: { constant * 2 }) { $0 }.requiresGrad)
    #expect(!withoutGradients { silu(x) }.requiresGrad)
  }

  /// Identity forward, another gradient: what tensor parallelism needs.
  @Test func anInputMayBeReturnedUnchanged() {
    let x = leaf([3], seed: 1)
    let hidden = x * 2
    let entered = Tensor.function("Enter", input: hidden, forward: { hidden }) { $0 * 10 }
    #expect(entered !== hidden && entered.sharesStorage(with: hidden))
    (entered + hidden).sum().backward()
    #expect(x.grad?.array(Float.self) == [22, 22, 22])

    let view = Tensor.function("View", input: hidden, forward: { hidden.view([3, 1]) }) { $0.view([3]) * 5 }
    x.grad = nil
    view.sum().backward()
    #expect(x.grad?.array(Float.self) == [10, 10, 10])
  }

  @Test func errorsInABackwardArrive() {
    let x = leaf([2, 3], seed: 1)
    func error(_ backward: @escaping ([Tensor?]) -> [Tensor?]) -> String? {
      message {
        try catchingTorchErrors { Tensor.function("Wrong", inputs: [x], forward: { [x * 2] }, backward: backward)[0].sum().backward() }
      }
    }
    #expect(error { [$0[0]!.view([7])] }?.contains("shape '[7]' is invalid") == true)
    #expect(error { _ in [] }?.contains("0 gradients for 1 inputs") == true)
    #expect(error { _ in [Tensor.ones([5, 5])] }?.contains("invalid gradient") == true)
    #expect(x.grad == nil)
    #expect(error { $0 } == nil && x.grad != nil)
  }

  @Test func failuresInAForwardArrive() {
    let x = leaf([2], seed: 1)
    #expect(
      message { try catchingTorchErrors { _ = Tensor.function("Bad", input: x, forward: { x.view([3]) }) { $0 } } }?
        .contains("shape '[3]'") == true)
  }

  @Test func aGraphIsUsedOnceUnlessRetained() {
    let x = leaf([2], seed: 1)
    let loss = silu(x).sum()
    loss.backward(retainGraph: true)
    loss.backward()
    #expect(message { try catchingTorchErrors { loss.backward() } } != nil)
  }

  // MARK: Leaks

  @Test(arguments: ["backward", "dropped", "no gradient", "no-grad scope", "error"])
  func theClosureIsReleased(after end: String) {
    let census = Census()
    do {
      let x = leaf([2], seed: 1)
      if end == "no gradient" { x.requiresGrad = false }
      func apply() -> Tensor {
        let saved = census.tensor([1, 2])
        return Tensor.function("Keep", input: x, forward: { x * 2 }) { gradient in
          end == "error" ? gradient.view([5]) : gradient * saved
        }
      }
      let loss = end == "no-grad scope" ? withoutGradients { apply().sum() } : apply().sum()
      #expect(census.count == (end.hasPrefix("no") ? 0 : 1))
      if end == "backward" {
        loss.backward()
        // The graph is used up although the loss still lives.
        #expect(census.count == 0 && x.grad?.array(Float.self) == [1, 2])
      }
      if end == "error" { #expect(message { try catchingTorchErrors { loss.backward() } } != nil) }
    }
    #expect(census.count == 0)
  }

  @Test func gradientsHandedToAClosureAreReleased() {
    let census = Census()
    do {
      let x = leaf([2], seed: 1)
      let output = Tensor.function("F", input: x, forward: { x * 2 }) { $0 * 3 }
      output.backward(gradient: census.tensor([1, 1]))
      #expect(x.grad?.array(Float.self) == [3, 3])
    }
    #expect(census.count == 0)
  }
}

/// What is made again is made once for all results, when it is asked for.
@Test func resultsAreMadeAgainTogether() {
  let numbers = Tensor([1, 2] as [Float])
  #expect(!numbers.isRemade && numbers.remade().sharesStorage(with: numbers))
  var calls = 0
  func make() -> [Tensor] {
    calls += 1
    return [numbers * 2, numbers * 3]
  }
  let results = make()
  Tensor.remaking(results, make)
  let again = results.map(\.remade)
  #expect(calls == 1 && results.allSatisfy(\.isRemade))
  for round in 2...3 {
    for (make, result) in zip(again, results) {
      let made = make()
      #expect(made.equal(result) && !made.sharesStorage(with: result) && calls == round)
    }
  }
}

/// Who waits for numbers is given them by the backward pass of the operation that made them, after its own; at once where that
/// pass does not come, or where they are kept.
@Test(arguments: ["awaited", "frozen", "kept"]) func numbersAreGivenByTheWay(_ kind: String) {
  var order: [String] = []
  let x = Tensor([1, 2] as [Float])
  x.requiresGrad = kind != "frozen"
  let weight = Tensor([5, 7] as [Float])
  weight.requiresGrad = true
  let kept = x.detached()
  let again = Remaking(isByTheWay: true) {
    order.append("made")
    return kept * 3
  }
  let tripled = Tensor.function("Triple", input: x, forward: { kept * 3 }) { gradient in
    order.append("operation")
    #expect(again.isAwaited == (kind == "awaited"))
    again.end(with: kept * 3)
    return gradient * 3
  }
  if kind != "kept" { tripled.again = again }
  let (whenThere, w) = (tripled.awaited, weight.detached())
  var byWeight: Tensor?
  let product = Tensor.function("Multiply", inputs: [tripled, weight]) {
    [tripled.detached() * w]
  } backward: { gradients in
    order.append("consumer")
    whenThere {
      order.append("used")
      byWeight = gradients[0]! * $0
    }
    return [gradients[0]! * w, nil]
  }[0]
  product.backward(gradient: Tensor([1, 10] as [Float]))
  #expect(byWeight?.array(Float.self) == [3, 60])
  #expect(x.grad?.array(Float.self) == (kind == "frozen" ? nil : [15, 210]))
  let wanted = [
    "awaited": ["consumer", "operation", "used"], "frozen": ["consumer", "made", "used"],
    "kept": ["consumer", "used", "operation"],
  ]
  #expect(order == wanted[kind])
  #expect(!again.isAwaited)
}
