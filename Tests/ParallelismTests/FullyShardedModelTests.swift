import Parallelism
import TestSupport
import Testing
import Torch

/// Sharding by parameter on a small stack of blocks: gradients, the order of collectives, and how much is gathered when.
@Suite struct FullyShardedModelTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var ranks: Int
    var checkpointing = false
    var offloads = false
    var shardSize: Int?
    var testDescription: String {
      "\(ranks) ranks, checkpointing \(checkpointing), offloads \(offloads), shards of \(shardSize ?? ranks)"
    }
    /// Whether whole weights are copies that come and go.
    var gathers: Bool { ranks > 1 || offloads }
  }

  static let cases = [
    Case(ranks: 1), Case(ranks: 1, checkpointing: true), Case(ranks: 1, offloads: true), Case(ranks: 2),
    Case(ranks: 2, checkpointing: true), Case(ranks: 3), Case(ranks: 4, checkpointing: true, offloads: true),
    Case(ranks: 4, shardSize: 2), Case(ranks: 7),
  ]

  /// What one rank saw, in order.
  enum Event: Sendable, Equatable {
    case step(part: Int, ShardingStep)
    /// A block's forward, and the beginning of its backward.
    case forward(block: Int)
    case backward(block: Int)
  }

  private static let blockCount = 5

  @Test(arguments: cases) func gradientsAndOrderAreRight(_ given: Case) async throws {
    let layout = try ParallelLayout(worldSize: given.ranks, shardSize: given.shardSize)
    let events = try await runRanks(given.ranks) { rank, store in
      let parallel = try ParallelContext(layout, rank: rank, device: .cpu) {
        try .gloo($0, store: store, rank: $1, size: $2, timeout: .seconds(20))
      }
      return try Self.run(given, parallel)
    }
    for (rank, seen) in events.enumerated() { #expect(seen == events[0], "rank \(rank) did other things than rank 0") }
    try Self.checkOrder(events[0], given)
  }

  /// Two passes; checks gradients and memory on the way.
  private static func run(_ given: Case, _ parallel: ParallelContext) throws -> [Event] {
    let toy = Toy(blockCount: blockCount)
    var options = FullyShardedModel.Options()
    (options.gradientCheckpointing, options.offloadsToHost) = (given.checkpointing, given.offloads)
    let model = FullyShardedModel(root: toy.root, blocks: toy.blocks, options: options, parallel: parallel)
    for part in model.parts { part.fill { toy.values[$0.name]! } }
    var events: [Event] = []
    model.observe { events.append(.step(part: $0, $1)) }
    /// More than two blocks' weights, padding included, are never here.
    func checkMemory() {
      let bytes = model.blocks.reduce(0) { $0 + $1.gatheredByteCount }
      let padded = model.blocks[0].units[0].shard.byteCount * parallel.shard.size
      #expect(bytes <= 2 * padded, "\(bytes) bytes of gathered blocks, \(padded) a block, after \(events)")
    }
    func forward(_ input: Tensor) -> Tensor {
      toy.forward(input) { index, input, body in
        model.run(index..<index + 1, input: input, parameters: []) { input in
          events.append(.forward(block: index))
          checkMemory()
          let output = body(input)
          if gradientsEnabled {
            output.registerHook { _ in
              events.append(.backward(block: index))
              checkMemory()
              return nil
            }
          }
          return output
        }
      }
    }
    let scored = withoutGradients { model.withRoot { model.pass { forward(toy.input(parallel.rank)) } } }
    model.withRoot {
      for pass in 0..<2 { model.pass { forward(toy.input(parallel.rank + 10 * pass)).sum().backward() } }
    }
    #expect(!given.gathers || model.parts.allSatisfy { $0.gatheredByteCount == 0 })
    model.reduceOverReplicas()

    let plain = Toy(blockCount: blockCount)
    let leaves = plain.useAsLeaves()
    let expectedScore = withoutGradients { plain.forward(toy.input(parallel.rank)) }
    #expect((scored - expectedScore).abs().max().item() < 1e-6)
    for rank in 0..<parallel.layout.worldSize {
      for pass in 0..<2 { plain.forward(toy.input(rank + 10 * pass)).sum().backward() }
    }
    var squares = 0.0
    for unit in model.units {
      for (sharded, rows, values) in unit.rows(in: try #require(unit.gradient)) {
        let expected = try #require(leaves[sharded.parameter.name]?.grad)[rows]
        let error = values.count == 0 ? 0 : (values - expected).abs().max().item()
        #expect(error < 2e-5, "gradient of \(sharded.parameter.name) on rank \(parallel.rank): \(error)")
      }
    }
    for leaf in leaves.values { squares += leaf.grad!.square().sum().item() }
    #expect(abs(model.gradientNorm() - squares.squareRoot()) < 1e-5 * squares.squareRoot())
    for part in model.parts {
      for (parameter, whole) in part.whole() { #expect(whole.equal(toy.values[parameter.name]!)) }
    }
    return events
  }

  /// Counts and order of what happened: two passes after one without gradients.
  private static func checkOrder(_ events: [Event], _ given: Case) throws {
    // The forward of the checkpointed blocks runs twice.
    let forwards = events.count { if case .forward = $0 { true } else { false } }
    #expect(forwards == blockCount * (given.checkpointing ? 5 : 3))
    #expect(events.count { if case .backward = $0 { true } else { false } } == 2 * blockCount)
    let reductions = events.count { if case .step(_, .reducing) = $0 { true } else { false } }
    #expect(reductions == 2 * (blockCount + 1))
    var (gathered, reducing) = (Set<Int>(), 0)
    for event in events {
      switch event {
      case .step(0, .gathering), .step(0, .whole), .step(0, .freed): continue
      case .step(let unit, .gathering), .step(let unit, .whole): gathered.insert(unit)
      case .step(let unit, .freed): gathered.remove(unit)
      case .step(_, .reducing): reducing += 1
      case .step(_, .reduced): reducing -= 1
      case .forward(let block), .backward(let block): #expect(!given.gathers || gathered.contains(block + 1))
      }
      #expect(gathered.count <= 2, "\(gathered) are gathered at a time")
      #expect(reducing <= 1)
    }
    #expect(reducing == 0)
    let wholes = events.count { if case .step(1..., .whole) = $0 { true } else { false } }
    // A pass gathers each block once forward and, the last one excepted, once backward.
    #expect(wholes == (given.gathers ? blockCount + 2 * (2 * blockCount - 1) : 0))
    guard (given.shardSize ?? given.ranks) > 1 else { return }
    #expect(events.count { if case .step(1..., .gathering) = $0 { true } else { false } } == wholes)
    // The next block's weights are under way when one begins.
    var overlapped = 0
    for (place, event) in events.enumerated() {
      let next: Int
      switch event {
      case .backward(let block): next = block
      case .forward(let block):
        // A forward that is run again in the backward is followed by its own backward.
        let following = events[(place + 1)...].first { if case .step = $0 { false } else { true } }
        next = given.checkpointing && following == .backward(block: block) ? block : block + 2
      default: continue
      }
      guard (1...blockCount).contains(next) else { continue }
      let last = events[..<place].last { if case .step(next, _) = $0 { true } else { false } }
      #expect(last == .step(part: next, .gathering), "at event \(place), \(event), in \(events)")
      overlapped += 1
    }
    #expect(overlapped == (blockCount - 1) * (1 + 2 * (given.checkpointing ? 3 : 2)))
  }
}

/// x → head(blocks(x Eᵀ)), with sizes that no number of ranks divides; every rank sees other inputs.
private final class Toy {
  let root: [Parameter]
  let blocks: [[Parameter]]
  let values: [String: Tensor]
  private static let width = 5

  init(blockCount: Int) {
    let table = ParameterTable()
    let scope = ParameterScope(table)
    let generator = Generator(seed: 3)
    var values: [String: Tensor] = [:]
    func parameter(_ name: String, _ shape: [Int]) -> Parameter {
      let made = scope.parameter(name, shape: shape, initializer: .constant(0))
      values[name] = Tensor.randn(shape, generator: generator) * 0.4
      return made
    }
    root = [parameter("embed", [Self.width, 3]), parameter("head", [2, Self.width])]
    blocks = (0..<blockCount).map { block in
      [
        parameter("\(block).weight", [Self.width, Self.width]), parameter("\(block).bias", [Self.width]),
        parameter("\(block).experts", [3, Self.width, 2]),
      ]
    }
    self.values = values
  }

  func input(_ seed: Int) -> Tensor { Tensor.randn([4, 3], generator: Generator(seed: UInt64(seed))) }

  /// Leaves of their own in the parameters' places.
  func useAsLeaves() -> [String: Tensor] {
    var leaves: [String: Tensor] = [:]
    for parameter in root + blocks.joined() {
      parameter.tensor = values[parameter.name]!.clone()
      parameter.tensor.requiresGrad = true
      leaves[parameter.name] = parameter.tensor
    }
    return leaves
  }

  func forward(
    _ input: Tensor, _ run: (_ block: Int, Tensor, @escaping (Tensor) -> Tensor) -> Tensor = { $2($1) }
  ) -> Tensor {
    var hidden = input.linear(root[0].tensor)
    for (index, block) in blocks.enumerated() {
      hidden = run(index, hidden) { hidden in
        let dense = hidden.linear(block[0].tensor, bias: block[1].tensor).tanh()
        let experts = (0..<3).map { hidden.mm(block[2].tensor[$0]).mm(block[2].tensor[$0].t()) }
        return hidden + dense + (experts[0] + experts[1] * 0.5 - experts[2]).tanh()
      }
    }
    return hidden.linear(root[1].tensor).tanh()
  }
}
