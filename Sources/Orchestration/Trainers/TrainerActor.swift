import Checkpoints
import Distributed
import Inference
import Torch
import Training
import WeightSync

/// The process of one trainer rank, as others call it. The rank's tensors live on one thread.
public distributed actor TrainerActor {
  public nonisolated var unownedExecutor: UnownedSerialExecutor { actorSystem.thread.asUnownedSerialExecutor() }

  private var store: Store?
  private var rank: (any TrainActor)?

  public init(actorSystem: ControlPlane) { self.actorSystem = actorSystem }

  /// Rank 0 opens the store where all ranks meet.
  /// - Returns: its port.
  public distributed func openStore(rankCount: Int, timeoutSeconds: Int) throws -> Int {
    let store = try Store.tcp(
      host: "127.0.0.1", port: 0, isServer: true, rankCount: rankCount, timeout: .seconds(timeoutSeconds))
    self.store = store
    return store.port
  }

  /// Joins the other ranks and loads the model.
  public distributed func start(_ args: TrainerSetup, role: TrainRole, withRef: Bool, withOPDTeacher: Bool) throws {
    Runtime.threadCount = args.threadCount
    let store = try self.store ?? Store.tcp(
      host: "127.0.0.1", port: args.storePort, isServer: false, rankCount: args.layout.worldSize,
      timeout: .seconds(args.timeoutSeconds))
    self.store = store
    let type: any TrainActor.Type = switch args.backend {
    case .megatron: MegatronTrainActor.self
    case .fsdp: FSDPTrainActor.self
    }
    rank = try type.init(args, role: role, withRef: withRef, withOPDTeacher: withOPDTeacher, store: store)
  }

  private func started() throws -> any TrainActor {
    guard let rank else { throw TrainingError("\(id) was not started") }
    return rank
  }

  public distributed func train(rolloutID: Int, rolloutData: TrainBatch) throws -> TrainReport {
    try started().train(rolloutID: rolloutID, rolloutData: rolloutData)
  }

  public distributed func residentMemory() -> Int { ProcessMemory.resident }

  /// - Returns: the most memory of this process while it learned from a rollout, in bytes.
  public distributed func peakMemory(training batch: TrainBatch) throws -> Int {
    ProcessMemory.forgetPeak()
    _ = try started().train(rolloutID: batch.rolloutID, rolloutData: batch)
    return ProcessMemory.peak
  }

  public distributed func stepCount() throws -> Int { try started().core.trainer.backend.stepCount }

  public distributed func score(_ sequences: [[Int32]], tokensPerPack: Int) throws -> [ScoredSequence] {
    try started().core.trainer.score(sequences, tokensPerPack: tokensPerPack)
  }

  public distributed func sleep() throws { try started().core.trainer.backend.sleep() }
  public distributed func wakeUp() throws { try started().core.trainer.backend.wakeUp() }

  public distributed func updateWeights() throws { try started().updateWeights() }

  public distributed func exportWeights(_ request: WeightRequest) throws -> WeightExport {
    try started().core.exportWeights(request)
  }

  public distributed func openWeightGroup(rankCount: Int, timeout: Duration) throws -> Int {
    try started().core.sender.open(rankCount: rankCount, timeout: timeout)
  }

  public distributed func joinWeightGroup(_ place: WeightGroupPlace, timeout: Duration) async throws {
    try await started().core.enterWeightGroup(place).join(timeout: timeout)
  }

  /// The rank gathers the next bucket meanwhile.
  public distributed func broadcastBucket(_ number: Int) async throws { try await started().core.bucket(number).send() }

  public distributed func leaveWeightGroup() throws { try started().core.sender.leave() }

  public distributed func weightShards() throws -> [WeightShard] { try started().core.weightShards() }

  public distributed func shareWeights() throws -> SliceBucket? { try started().core.shareWeights() }
  public distributed func settleWeights() throws { try started().core.settleWeights() }

  public distributed func fillBucket(_ shards: [WeightShard], buffer: Int, capacity: Int) throws -> SliceBucket {
    try started().core.fillBucket(shards, buffer: buffer, capacity: capacity)
  }

  public distributed func releaseWeights() throws { try started().core.releaseWeights() }

  public distributed func save(rolloutID: Int, forceSync: Bool) throws {
    try started().save(rolloutID: rolloutID, forceSync: forceSync)
  }

  /// Waits until what was begun is written.
  public distributed func finishSaving() async throws -> RankContents? {
    let saving = try started().core.takeSaving()
    return try await saving.value
  }

  public distributed func saveHuggingFace(to path: String, dtype: DType) throws {
    try started().core.saveHuggingFace(to: path, dtype: dtype)
  }
}
