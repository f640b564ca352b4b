import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// All ways to compute attention that run here, against plain operators; what cannot run is refused.
@Suite struct AttentionImplementationTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var lengths: [Int]
    var heads: Int
    var keyValueHeads: Int
    var valueDimension = 8
    var testDescription: String { "\(lengths), \(heads) heads on \(keyValueHeads), values of \(valueDimension)" }
  }

  static let cases = [
    Case(lengths: [5], heads: 2, keyValueHeads: 2), Case(lengths: [1, 7, 3, 40, 33, 2, 0, 40], heads: 4, keyValueHeads: 2),
    Case(lengths: [70, 1, 69], heads: 6, keyValueHeads: 1), Case(lengths: [9, 4], heads: 2, keyValueHeads: 2, valueDimension: 6),
  ]

  /// Output, and gradients by query, key and value.
  private static func results(_ given: Case, _ implementation: AttentionImplementation, dtype: DType = .float32) -> [Tensor] {
    let generator = Generator(seed: 5)
    let tokens = given.lengths.reduce(0, +)
    func random(_ heads: Int, _ dimension: Int) -> Tensor {
      Tensor.randn([tokens, heads, dimension], generator: generator).to(dtype: dtype)
    }
    let leaves = [
      random(given.heads, 8), random(given.keyValueHeads, 8), random(given.keyValueHeads, given.valueDimension),
    ]
    for leaf in leaves { leaf.requiresGrad = true }
    let output = trainingAttention(lengths: given.lengths, parallel: .single(), implementation: implementation)
      .attend(query: leaves[0], key: leaves[1], value: leaves[2], layer: 0)
    output.backward(gradient: random(given.heads, given.valueDimension))
    return [output.detached()] + leaves.map { $0.grad! }
  }

  @Test(arguments: cases) func implementationsAgree(_ given: Case) {
    let names = ["output", "by query", "by key", "by value"]
    let (eager, sdpa) = (Self.results(given, .eager), Self.results(given, .sdpa))
    for (name, (found, expected)) in zip(names, zip(sdpa, eager)) {
      #expect(found.shape == expected.shape)
      let error = (found - expected).abs().max().item()
      #expect(error < 1e-5, "\(name): \(error)")
    }
    for (name, (found, expected)) in zip(names, zip(Self.results(given, .eager, dtype: .bfloat16), eager)) {
      let error = (found.to(dtype: .float32) - expected).vectorNorm().item() / expected.vectorNorm().item()
      #expect(error < 2e-2, "\(name) in bf16: \(error)")
    }
  }

  /// Against the definition, token by token.
  @Test func eagerIsTheDefinition() {
    let given = Case(lengths: [3, 6], heads: 4, keyValueHeads: 2)
    let generator = Generator(seed: 5)
    let (q, k, v) = (
      Tensor.randn([9, 4, 8], generator: generator), Tensor.randn([9, 2, 8], generator: generator),
      Tensor.randn([9, 2, 8], generator: generator)
    )
    let output = Self.results(given, .eager)[0]
    for token in 0..<9 {
      let start = token < 3 ? 0 : 3
      for head in 0..<4 {
        let keys = k[start..<token + 1].select(1, index: head / 2)
        let weights = (keys.mm(q[token][head].unsqueeze(1)).squeeze(1) / Double(8).squareRoot()).softmax(0)
        let expected = weights.unsqueeze(0).mm(v[start..<token + 1].select(1, index: head / 2)).squeeze(0)
        #expect((output[token][head] - expected).abs().max().item() < 1e-6)
      }
    }
  }

  /// Windows, soft caps and sinks against the definition, token by token, with gradients by autograd.
  @Test(arguments: RuleCase.all, [AttentionImplementation.eager, .sdpa])
  func rulesAreTheDefinition(_ rule: RuleCase, _ implementation: AttentionImplementation) {
    let lengths = [3, 1, 9]
    let generator = Generator(seed: 6)
    func leaves() -> [Tensor] { [4, 2, 2].map { Tensor.randn([13, $0, 8], generator: generator) } }
    let (values, gradient) = (leaves(), Tensor.randn([13, 4, 8], generator: generator))
    func results(_ attend: (_ q: Tensor, _ k: Tensor, _ v: Tensor, _ sinks: Tensor?) -> Tensor) -> [Tensor] {
      let sinks = rule.sinks(4)
      let inputs = values.map { $0.clone() }
      for input in inputs { input.requiresGrad = true }
      let output = attend(inputs[0], inputs[1], inputs[2], sinks)
      output.backward(gradient: gradient)
      return [output.detached()] + (inputs + (sinks.map { [$0] } ?? [])).map { $0.grad! }
    }
    let expected = results { q, k, v, sinks in
      var rows: [Tensor] = []
      var start = 0
      for length in lengths {
        for token in 0..<length {
          let first = max(0, token + 1 - (rule.window ?? length))
          let seen = start + first..<start + token + 1
          rows.append(Tensor.stack((0..<4).map { head in
            var scores = k[seen].select(1, index: head / 2).mm(q[start + token][head].unsqueeze(1)).squeeze(1) / Double(8).squareRoot()
            if let cap = rule.softCap { scores = (scores / cap).tanh() * cap }
            if let sinks { scores = Tensor.cat([scores, sinks[head].unsqueeze(0)], dim: 0) }
            let weights = scores.softmax(0)[0..<seen.count]
            return weights.unsqueeze(0).mm(v[seen].select(1, index: head / 2)).squeeze(0)
          }))
        }
        start += length
      }
      return Tensor.stack(rows)
    }
    let found = results { q, k, v, sinks in
      trainingAttention(lengths: lengths, parallel: .single(), implementation: implementation)
        .attend(query: q, key: k, value: v, layer: 0, rule: rule.rule(sinks))
    }
    for (name, (found, expected)) in zip(["output", "by query", "by key", "by value", "by sinks"], zip(found, expected)) {
      let error = (found - expected).abs().max().item()
      #expect(error < 1e-5, "\(name): \(error)")
    }
  }

  @Test func choicesThatCannotRunAreRefused() throws {
    func check(_ name: String, _ device: Device, _ dtype: DType, head: Int = 128, context: Int = 1) throws -> String? {
      let implementation = try #require(AttentionImplementation(rawValue: name))
      do {
        let checked = try implementation.checked(on: device, dtype, headDimension: head)
        #expect(checked == implementation)
        return nil
      } catch let error as ModelError { return error.description }
    }
    for name in ["sdpa", "eager"] {
      #expect(try check(name, .cpu, .float32) == nil && check(name, .cuda(), .bfloat16) == nil)
    }
    for name in ["flash_attention_2", "cudnn"] {
      #expect(try check(name, .cuda(), .bfloat16) == nil && check(name, .cuda(), .float16) == nil)
      #expect(try check(name, .cpu, .bfloat16)!.contains("use sdpa"))
      #expect(try check(name, .cuda(), .float32)!.contains("half precision only"))
    }
    #expect(try check("flash_attention_2", .cuda(), .bfloat16, head: 256) == nil)
    #expect(try check("flash_attention_2", .cuda(), .bfloat16, head: 84) == nil)
    #expect(try check("flash_attention_2", .cuda(), .bfloat16, head: 264)!.contains("use sdpa"))
    for head in [84, 192] { #expect(try check("cudnn", .cuda(), .bfloat16, head: head)!.contains("use sdpa")) }
    #expect(try check("flash_attention_3", .cuda(), .bfloat16)!.contains("use flash_attention_2 or cudnn"))
    #expect(AttentionImplementation.fastest(on: .cuda(), .bfloat16, headDimension: 128) == .flashAttention2)
    #expect(AttentionImplementation.fastest(on: .cuda(), .float32, headDimension: 128) == .sdpa)
    #expect(AttentionImplementation.fastest(on: .cpu, .bfloat16, headDimension: 128) == .sdpa)
  }
}
