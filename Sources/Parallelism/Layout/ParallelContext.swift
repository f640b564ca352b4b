import Torch

/// What one rank is: its place in the layout, its groups and its device. Passed down; there is no global parallel state.
public struct ParallelContext {
  public let layout: ParallelLayout
  public let rank: Int
  public let coordinates: ParallelCoordinates
  public let device: Device
  public let world: ProcessGroup
  public let tensor: ProcessGroup
  public let context: ProcessGroup
  public let data: ProcessGroup
  public let dataContext: ProcessGroup
  public let shard: ProcessGroup
  public let replicas: ProcessGroup
  public let tensorContext: ProcessGroup
  public let expert: ProcessGroup
  public let expertTensor: ProcessGroup
  public let expertData: ProcessGroup
  /// The ways to and from the neighbours in the pipeline; nil where there is one stage.
  public let pipeline: PipelineLinks?
  /// What is computed for a token is the same bits whatever else is computed with it, here and on every rank of any
  /// layout with the same tensor-parallel sizes (`--deterministic-mode`, `--enable-deterministic-inference`).
  public var isDeterministic = false

  /// Joins all groups of `rank`. Every rank of the world must do so.
  ///
  /// Groups of the same ranks share one transport, since a rank works with them in one order.
  /// - Parameters:
  ///   - sharing: whether they do.
  ///   - connect: joins a group: its name, this rank's place in it, its size.
  public init(
    _ layout: ParallelLayout, rank: Int, device: Device, sharing: Bool = true,
    connect: (_ name: String, _ place: Int, _ size: Int) throws -> ProcessGroup
  ) throws {
    (self.layout, self.rank, self.device) = (layout, rank, device)
    coordinates = layout.coordinates(of: rank)
    var known: [[Int]: ProcessGroup] = [:]
    func join(_ kind: ParallelGroup) throws -> ProcessGroup {
      let ranks = layout.ranks(of: kind, with: rank)
      if ranks.count == 1 { return .single(kind.rawValue) }
      if sharing, let group = known[ranks] { return group }
      let name = "\(kind.rawValue) \(ranks.map(String.init).joined(separator: ","))"
      let group = try connect(name, ranks.firstIndex(of: rank)!, ranks.count)
      known[ranks] = group
      return group
    }
    world = try join(.world)
    tensor = try join(.tensor)
    context = try join(.context)
    data = try join(.data)
    dataContext = try join(.dataContext)
    shard = try join(.shard)
    replicas = try join(.replicas)
    tensorContext = try join(.tensorContext)
    expert = try join(.expert)
    expertTensor = try join(.expertTensor)
    expertData = try join(.expertData)
    pipeline = layout.pipelineParallelSize == 1
      ? nil : try PipelineLinks(ranks: layout.ranks(of: .pipeline, with: rank), rank: rank, connect: connect)
  }

  /// One rank, alone.
  public static func single(_ device: Device = .cpu) -> ParallelContext {
    // One rank divides by anything, and joining groups of one needs nobody.
    try! ParallelContext(ParallelLayout(worldSize: 1), rank: 0, device: device) { name, _, _ in .single(name) }
  }

  /// The place of a rank in a layout that is not running: for what it would hold.
  public static func imagined(_ layout: ParallelLayout, rank: Int) -> ParallelContext {
    // Nothing that can fail is done.
    try! ParallelContext(layout, rank: rank, device: .meta, sharing: false) { .imagined($0, rank: $1, size: $2) }
  }

  public var sequenceParallel: Bool { layout.sequenceParallel }
  /// The stage of the pipeline that this rank is.
  public var stage: Int { coordinates.pipeline }
  public var stageCount: Int { layout.pipelineParallelSize }
}
