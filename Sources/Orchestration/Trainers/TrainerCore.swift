import Checkpoints
import Foundation
import Inference
import JSON
import Models
import Parallelism
import Torch
import Training
import WeightSync

/// What the trainer ranks of all backends have in common.
final class TrainerCore {
  let trainer: PolicyTrainer
  private let args: TrainerSetup
  private let folder: HuggingFaceFolder
  private let options: TrainingOptions
  private var exporter = WeightExporter()
  /// Rank 0's part in a group of engines.
  var sender = WeightSender()
  private var slices: SliceExporter
  /// nil: engines have not asked for it, or what this rank holds cannot be shared.
  private var shared: SharedWeights?
  /// What this rank holds, by name, while an update asks for it.
  private var held: [String: [HeldWeight]]?
  private var saving: BackgroundTask<RankContents?>?
  private var backend: any TrainBackend { trainer.backend }

  typealias MakeBackend = (
    HuggingFaceFolder, [Policy: HuggingFaceFolder], TrainingOptions, ParallelContext
  ) throws -> any TrainBackend

  init(
    _ args: TrainerSetup, role: TrainRole, withRef: Bool, withOPDTeacher: Bool, store: Store, makeBackend: MakeBackend
  ) throws {
    self.args = args
    slices = SliceExporter(device: args.device)
    var options = args.options
    if role == .critic { options.loss = .value }
    self.options = options
    func model(_ path: String) throws -> HuggingFaceFolder { try HuggingFaceFolder(URL(fileURLWithPath: path)) }
    folder = try model(args.folder)
    if options.isDeterministic, args.device.kind == .cuda {
      try Runtime.prepareDeterministicCUDA()
      Runtime.setDeterministic(true)
    }
    let parallel = try ParallelContext(
      args.layout, rank: args.rank, device: args.device, store: store, timeout: .seconds(args.timeoutSeconds))
    var policies: [Policy: HuggingFaceFolder] = [:]
    if withRef { policies[.reference] = try args.referenceFolder.map(model) ?? folder }
    if withOPDTeacher { policies[.teacher] = try args.teacherFolder.map(model) }
    let backend = try makeBackend(folder, policies, options, parallel)
    if let state = args.stateFolder { try backend.loadState(from: URL(fileURLWithPath: state), withOptimizer: args.loadsOptimizer) }
    if args.referenceIsLoaded { try backend.keepWeights(as: .reference) }
    trainer = PolicyTrainer(backend, options: options)
  }

  func train(rolloutID: Int, _ batch: TrainBatch) throws -> TrainReport {
    guard batch.rolloutID == rolloutID else {
      throw TrainingError("trainer rank \(args.rank) was given rollout \(batch.rolloutID) as rollout \(rolloutID)")
    }
    return try trainer.train(batch)
  }

  // MARK: Weights

  /// What the engine is about to be given is what the next rollouts are sampled with.
  func updateWeights() throws {
    if options.keepsOldActor { try backend.keepWeights(as: .oldActor) }
  }

  func exportWeights(_ request: WeightRequest) throws -> WeightExport {
    // Engines are given tensors as checkpoints have them, whatever the trainer's model calls its parts.
    var assembly = try storedLayout().assembly()
    let scalings = request.isFloat8 ? try storedScalings() : [:]
    return try exporter.export(
      request, elementCounts: backend.weightUnitSizes, fills: args.rank == 0, device: args.device,
      keepsType: CausalLM.isConstant, scaling: { scalings[$0] },
      weights: { try self.backend.weights(ofUnit: $0).compactMap { assembly.add($0.name, $0.tensor) } })
  }

  func enterWeightGroup(_ place: WeightGroupPlace) -> WeightGroup {
    var place = place
    if place.device.kind == .cuda { place.device = args.device }
    return sender.enter(place)
  }

  func bucket(_ number: Int) throws -> WeightBroadcast { try sender.bucket(number, of: &exporter) }

  func weightShards() -> [WeightShard] { backend.heldWeights.map(\.shard) }

  func shareWeights() throws -> SliceBucket? {
    shared = try shared ?? SharedWeights(
      moving: backend.heldWeights.map { WeightSlice($0.shard, $0.values) }, on: args.device)
    return shared?.bucket
  }

  func settleWeights() throws { try catchingTorchErrors { Runtime.synchronize(args.device) } }

  func fillBucket(_ shards: [WeightShard], buffer: Int, capacity: Int) throws -> SliceBucket {
    let held = self.held ?? Dictionary(grouping: backend.heldWeights, by: \.name)
    self.held = held
    return try slices.fill(shards, buffer: buffer, capacity: capacity) { shard in
      guard let own = held[shard.name]?.first(where: { $0.box.intersection(shard.box) == shard.box }) else {
        throw TrainingError("trainer rank \(args.rank) was asked for \(shard.box) of '\(shard.name)', which it does not hold")
      }
      return own.values.narrowed(from: own.box, to: shard.box)
    }
  }

  func releaseWeights() {
    exporter.release()
    slices.release()
    held = nil
  }

  private var knownLayout: StoredLayout?

  /// Where checkpoints keep the trained weights.
  private func storedLayout() throws -> StoredLayout {
    if let knownLayout { return knownLayout }
    let layout = StoredLayout(try options.configuration(of: folder).model(parallel: .single(), dtype: .float32))
    knownLayout = layout
    return layout
  }

  private var knownScalings: [String: Float8Scaling]?

  /// How the checkpoint has its e4m3 weights, by name.
  private func storedScalings() throws -> [String: Float8Scaling] {
    if let knownScalings { return knownScalings }
    let scalings = try ModelRegistry.configuration(of: folder, provider: options.modelProvider).storedScalings()
    knownScalings = scalings
    return scalings
  }

  // MARK: Saving

  func save(rolloutID: Int, forceSync: Bool) throws {
    guard let path = args.saveFolder else { throw TrainingError("trainer rank \(args.rank) has no folder to save to") }
    let destination = CheckpointDirectory(URL(fileURLWithPath: path)).folder(iteration: rolloutID + 1)
    let task = try backend.startSaving(into: PartialFolder.url(for: destination), withOptimizer: args.savesOptimizer)
    if forceSync { _ = try task.wait() }
    saving = task
  }

  /// What was begun, which is forgotten then.
  func takeSaving() throws -> BackgroundTask<RankContents?> {
    guard let saving else { throw TrainingError("trainer rank \(args.rank) is not saving") }
    self.saving = nil
    return saving
  }

  /// Saves the model as a Hugging Face folder, with prediction layers as they were where they are not trained, and with what
  /// the model leaves aside of its folder; every rank takes part, rank 0 writes.
  func saveHuggingFace(to path: String, dtype: DType) throws {
    guard args.rank == 0 else { return try backend.forEachWeight { _, _ in } }
    let model = try backend.configuration.keepingPredictionLayers(of: folder).model(parallel: .single(), dtype: .float32)
    let layout = StoredLayout(model)
    let tensors = layout.tensors.map {
      TensorSpecification(name: $0.name, dtype: SafetensorsDType($0.isLearned ? dtype : .float32), shape: $0.shape)
    }
    let carried = try CarriedTensors(folder, model.configuration, saved: tensors)
    let writer = try HuggingFaceWriter(
      to: URL(fileURLWithPath: path), config: folder.config.settingDType(dtype), tensors: tensors + carried.specifications,
      copyingFrom: folder)
    var assembly = layout.assembly()
    try backend.forEachWeight { name, weight in
      if let whole = assembly.add(name, weight) { try carried.write(whole.name, whole.tensor, to: writer) }
    }
    if model.configuration != backend.configuration {
      let loader = try WeightLoader(folder, for: model)
      for parameter in model.table.parameters where model.configuration.isOfPredictionLayer(parameter.name) {
        for (name, weight) in checkpointTensors(parameter, try loader.tensor(parameter, dtype: .float32)) {
          if let whole = assembly.add(name, weight) { try writer.write(whole.name, whole.tensor) }
        }
      }
    }
    try carried.writeRest(to: writer)
    try writer.finish()
  }
}

extension HeldWeight {
  fileprivate var shard: WeightShard { WeightShard(name, shape: shape, box: box, dtype: values.dtype) }
}

extension JSONValue {
  /// A config.json that says what type the weights have, under the key that it used before; none of them is quantised.
  func settingDType(_ dtype: DType) -> JSONValue {
    guard case .object(var object) = self else { return self }
    object[object["dtype"] == nil && object["torch_dtype"] != nil ? "torch_dtype" : "dtype"] = .string(dtype.name)
    object["quantization_config"] = nil
    return .object(object)
  }
}

extension ParallelContext {
  /// Joins the groups of a rank that is a process: over NCCL on GPUs, over Gloo on CPUs.
  init(_ layout: ParallelLayout, rank: Int, device: Device, store: Store, timeout: Duration) throws {
    try Runtime.open(device, for: "trainer rank \(rank)")
    try self.init(layout, rank: rank, device: device) { name, place, size in
      device.kind == .cuda
        ? try .nccl(name, store: store, rank: place, size: size, device: device, timeout: timeout)
        : try .gloo(name, store: store, rank: place, size: size, timeout: timeout)
    }
  }
}
