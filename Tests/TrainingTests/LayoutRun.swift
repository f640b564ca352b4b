import Checkpoints
import Foundation
import Parallelism
import RLAlgorithms
import TestSupport
import Testing
import Torch
import Training

/// One way to divide a model over ranks.
struct Layout: Sendable, CustomTestStringConvertible {
  var tensor = 1
  var sequence = false
  var context = 1
  var pipeline = 1
  var data = 1
  var expert = 1
  var expertTensor: Int?
  var options = MegatronOptions()
  var format = SequenceLayout.Format.packed
  var tokensPerPack = 40
  var isFSDP = false
  var shardSize: Int?

  var worldSize: Int { tensor * context * pipeline * data }

  func parallel() throws -> ParallelLayout {
    try ParallelLayout(
      worldSize: worldSize, tensorParallelSize: tensor, sequenceParallel: sequence, contextParallelSize: context,
      pipelineParallelSize: pipeline, expertParallelSize: expert, expertTensorParallelSize: expertTensor,
      shardSize: shardSize)
  }

  var testDescription: String {
    var parts = ["tp\(tensor)\(sequence ? "+sp" : "")", "cp\(context)", "pp\(pipeline)", "dp\(data)"]
    if expert > 1 || expertTensor != nil { parts.append("ep\(expert) etp\(expertTensor ?? tensor)") }
    if let layers = options.layersPerVirtualStage { parts.append("\(layers) layers a virtual stage") }
    if options.firstStageLayers != nil || options.lastStageLayers != nil { parts.append("uneven stages") }
    if options.recomputation != .none { parts.append("\(options.recomputation)") }
    if format == .padded { parts.append("bshd") }
    if isFSDP { parts.append("fsdp, shards of \(shardSize ?? worldSize)") }
    parts.append("packs of \(tokensPerPack)")
    return parts.joined(separator: " ")
  }
}

/// What training on some layout comes to.
struct LayoutOutcome: Sendable {
  var steps: [[String: Double]] = []
  var rollout: [[String: Double]] = []
  var scores: [ScoredSequence] = []
  /// A critic's, of every batch.
  var values: [[SampleValues]] = []
  var weights: [String: [Float]] = [:]
  var saved: RankContents?
}

/// Trains on batches under a layout, one thread a rank, and scores some sequences after that.
func run(
  _ model: TinyModel, _ layout: Layout, _ batches: [TrainBatch], scoring sequences: [[Int32]] = [],
  policies others: [Policy: TinyModel] = [:], timeout: Duration = .seconds(60), resuming state: URL? = nil, saving target: URL? = nil,
  _ adjust: @escaping @Sendable (inout TrainingOptions) -> Void = { _ in },
  inspecting inspect: @escaping @Sendable (any TrainBackend) throws -> Void = { _ in }
) async throws -> LayoutOutcome {
  let parallelLayout = try layout.parallel()
  let outcomes = try await runRanks(layout.worldSize, timeout: timeout) { rank, store in
    let parallel = try ParallelContext(parallelLayout, rank: rank, device: .cpu) {
      try .gloo($0, store: store, rank: $1, size: $2, timeout: .seconds(20))
    }
    var options = try TrainingOptions(
      schedule: LearningRateSchedule(peak: 2e-3, decaySteps: 1000), globalBatchSize: 8,
      batching: .dynamic(maxTokensPerDevice: layout.tokensPerPack / layout.context))
    options.optimizer = AdamW.Options(beta1: 0.9, beta2: 0.95, weightDecay: 0.1)
    (options.megatron, options.sequenceFormat) = (layout.options, layout.format)
    adjust(&options)
    let folder = try HuggingFaceFolder(model.url)
    var policies = try others.mapValues { try HuggingFaceFolder($0.url) }
    if options.needsReference { policies[.reference] = folder }
    let backend: any TrainBackend = layout.isFSDP
      ? try FSDPBackend(folder, policies: policies, options: options, parallel: parallel)
      : try MegatronBackend(folder, policies: policies, options: options, parallel: parallel)
    if let state { try backend.loadState(from: state, withOptimizer: true) }
    let trainer = PolicyTrainer(backend, options: options)
    var outcome = LayoutOutcome()
    for batch in batches {
      let report = try trainer.train(batch)
      outcome.steps += report.steps
      outcome.rollout.append(report.rollout)
      outcome.values.append(report.values)
    }
    try inspect(backend)
    outcome.scores = try trainer.score(sequences, tokensPerPack: 50)
    try backend.forEachWeight { outcome.weights[$0] = $1.array() }
    if let target { outcome.saved = try backend.startSaving(into: target, withOptimizer: true).wait() }
    return outcome
  }
  if let target {
    try MegatronFormat.writeDescription(to: target)
    try TorchDistMetadata(merging: outcomes.compactMap(\.saved)).write(to: target)
  }
  var outcome = outcomes[outcomes.count - 1]
  outcome.weights = outcomes[0].weights
  outcome.values = batches.indices.map { batch in
    outcomes.flatMap { $0.values[batch] }.sorted { $0.sample < $1.sample }
  }
  outcome.scores = outcomes.flatMap(\.scores).sorted { $0.index < $1.index }
  return outcome
}

/// Relative distance of two sets of weights, the worst over all tensors: |a − b| / |b|.
func distance(_ a: [String: [Float]], _ b: [String: [Float]]) -> (name: String, error: Double) {
  guard Set(a.keys) == Set(b.keys) else { return ("names \(Set(a.keys).symmetricDifference(b.keys))", .infinity) }
  return b.map { name, expected in
    let found = a[name]!
    guard found.count == expected.count else { return (name, .infinity) }
    let difference = zip(found, expected).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
    let norm = expected.reduce(0.0) { $0 + Double($1) * Double($1) }
    return (name, norm == 0 ? difference.squareRoot() : (difference / norm).squareRoot())
  }.max { $0.error < $1.error } ?? ("nothing", .infinity)
}

/// DESIGN.md's tolerances, and that every number reported is the same.
func expectEqual(_ found: LayoutOutcome, _ expected: LayoutOutcome, _ place: String) {
  #expect(found.steps.count == expected.steps.count && found.steps.count > 0, "\(place)")
  for (step, (found, expected)) in zip(found.steps, expected.steps).enumerated() {
    for (name, value) in expected {
      let other = found[name] ?? .nan
      #expect(abs(other - value) <= 1e-4 * max(abs(value), 5e-2), "\(place), step \(step): \(name) is \(other), not \(value)")
    }
  }
  for (found, expected) in zip(found.rollout, expected.rollout) {
    for (name, value) in expected {
      #expect(abs((found[name] ?? .nan) - value) <= 1e-5 * max(abs(value), 1), "\(place): rollout \(name)")
    }
  }
  let (name, error) = distance(found.weights, expected.weights)
  #expect(error <= 1e-4, "\(place): weights of \(name) differ by \(error)")
}
