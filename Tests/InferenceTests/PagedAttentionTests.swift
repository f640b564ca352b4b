import Inference
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// Paged attention over random chunks against attention over whole sequences.
@Suite struct PagedAttentionTests {
  /// What a layer's attention may do besides the usual.
  private static func rules(_ heads: Int) -> [AttentionRule] {
    let sinks = Tensor((0..<heads).map { Float($0) - 1 })
    return [
      .plain, AttentionRule(window: 5), AttentionRule(softCap: 1.5), AttentionRule(window: 50, sinks: sinks),
      AttentionRule(window: 1, softCap: 2), AttentionRule(sinks: sinks),
    ]
  }

  @Test(arguments: [1, 2, 3] as [UInt64], 0..<6) func knowsRules(_ seed: UInt64, rule index: Int) throws {
    try compare(seed, rule: index, isDeterministic: false)
  }

  @Test(arguments: [1, 2, 3] as [UInt64], [false, true])
  func equalsWholeSequences(_ seed: UInt64, isDeterministic: Bool) throws {
    try compare(seed, rule: 0, isDeterministic: isDeterministic)
  }

  private func compare(_ seed: UInt64, rule index: Int, isDeterministic: Bool) throws {
    var random = SeededGenerator(state: seed)
    let generator = Generator(seed: seed)
    let configuration = try ModelRegistry.configuration(of: modelFolder("llama3-gqa"))
    let (heads, keyValueHeads, dimension) = (configuration.headCount, configuration.keyValueHeadCount, configuration.headDimension)
    #expect(heads > keyValueHeads)
    let pageSize = [1, 4, 16][Int(seed) - 1]
    let lengths = (0..<12).map { _ in Int.random(in: 1...[3, 40, 300].randomElement(using: &random)!, using: &random) }
    let starts = lengths.indices.map { lengths[..<$0].reduce(0, +) }
    let total = lengths.reduce(0, +)
    let query = Tensor.randn([total, heads, dimension], generator: generator)
    let key = Tensor.randn([total, keyValueHeads, dimension], generator: generator)
    let value = Tensor.randn([total, keyValueHeads, dimension], generator: generator)
    func whole(_ isDeterministic: Bool) -> PackedAttention {
      PackedAttention(lengths: lengths, device: .cpu, isDeterministic: isDeterministic)
    }
    let rule = Self.rules(heads)[index]
    let wanted = whole(isDeterministic).attend(query: query, key: key, value: value, layer: 0, rule: rule)

    let plain = whole(false).attend(query: query, key: key, value: value, layer: 0, rule: rule)
    #expect((wanted - plain).abs().max().item() < 1e-5)

    let pageCount = lengths.map { ($0 + pageSize - 1) / pageSize }.reduce(0, +)
    let cache = KVCache(configuration, pageCount: pageCount, pageSize: pageSize, dtype: .float32, device: .cpu)
    var pages = (0..<pageCount).shuffled(using: &random)
    let tables = lengths.map { length in
      let count = (length + pageSize - 1) / pageSize
      defer { pages.removeFirst(count) }
      return Array(pages.prefix(count))
    }
    var done = [Int](repeating: 0, count: lengths.count)
    while done != lengths {
      var items: [BatchPlan.Item] = []
      var rows: [Int] = []
      for i in lengths.indices.shuffled(using: &random) where done[i] < lengths[i] && Int.random(in: 0..<4, using: &random) > 0 {
        let most = Bool.random(using: &random) ? 1 : lengths[i] - done[i]
        let end = done[i] + Int.random(in: 1...most, using: &random)
        items.append(
          BatchPlan.Item(
            id: "\(i)", start: done[i], tokens: Array(repeating: 0, count: end - done[i]),
            pages: Array(tables[i].prefix((end + pageSize - 1) / pageSize)), samples: false, promptLogProbs: 0..<0))
        rows += starts[i] + done[i]..<starts[i] + end
        done[i] = end
      }
      guard !items.isEmpty else { continue }
      let attention = PagedAttention(
        BatchPlan(items: items), cache: cache, dtype: .float32, device: .cpu, isDeterministic: isDeterministic)
      let index = Tensor(rows)
      func part(_ whole: Tensor) -> Tensor { whole.indexSelect(0, index: index) }
      let found = attention.attend(query: part(query), key: part(key), value: part(value), layer: 0, rule: rule)
      let error = (found - part(wanted)).abs().max().item()
      #expect(isDeterministic ? error == 0 : error < 1e-5, "largest difference \(error)")
    }
  }
}
