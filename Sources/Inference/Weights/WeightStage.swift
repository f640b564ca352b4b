import Checkpoints
import Foundation
import Torch

/// Gathers new weights in host memory while the engine serves the old ones.
///
/// Nothing of an update reaches the model before all of it is here and sound, and one whose sender falls silent is
/// forgotten. Everything happens on a queue of its own, beside the engine's thread. (The exception is an update that is
/// begun as `WeightStaging.inPlace`: of that, only what has arrived is kept here.)
final class WeightStage: @unchecked Sendable {
  private let queue = DispatchQueue(label: "engine.weights")
  private let places: ModelWeights
  /// What each rank of the engine holds, and on which device.
  let shards: [[WeightShard]]
  private let devices: [Device]
  /// How long the sender of an update may be silent.
  private let patience: Duration
  private var open: Update?
  private var updates = 0
  private var lapsed = false

  /// An update that was begun.
  private struct Update {
    let number: Int
    var weights: [String: StagedWeight] = [:]
    /// nil: whole tensors come.
    var slices: SlicedUpdate?
    var failure: (any Error)?
    /// Buckets so far: whether anything came since a moment.
    var arrivals = 0
  }

  init(_ places: ModelWeights, shards: [[WeightShard]], devices: [Device], patience: Duration) {
    (self.places, self.shards, self.devices, self.patience) = (places, shards, devices, patience)
  }

  /// Every checkpoint tensor that the model is made of, in its order.
  var names: [String] { places.names }
  func description(of name: String) -> WeightDescription? { places.description(of: name) }

  // MARK: Updates in several requests

  /// Opens an update; one that is open already is forgotten.
  /// - Parameter staging: where slices go; nil: whole tensors will come.
  func begin(_ staging: WeightStaging? = nil) async {
    await perform { stage in
      stage.updates += 1
      var update = Update(number: stage.updates)
      update.slices = staging.map(stage.sliced)
      (stage.open, stage.lapsed) = (update, false)
      stage.watch()
    }
  }

  func add(_ bucket: sending [NamedTensor]) async throws {
    let bucket = HandedOver(bucket)
    try await perform { try $0.add { bucket.value } }
  }

  func add(_ bucket: [NamedBytes]) async throws {
    try await perform { try $0.add { try bucket.map { try $0.named() } } }
  }

  private func add(_ bucket: () throws -> [NamedTensor]) throws {
    try adding {
      for weight in try places.staged(bucket()) { open!.weights[weight.name] = weight }
    }
  }

  /// Takes slices of the open update, which must have been begun for slices.
  /// - Returns: what each rank writes into the model now; nil: nothing is written before the update ends.
  func add(_ slices: HandedOver<[WeightSlice]>) async throws -> HandedOver<[[WeightSlice]]>? {
    try await perform { stage in
      try stage.adding {
        guard stage.open!.slices != nil else { throw EngineError("The open weight update is one of whole tensors, not of slices.") }
        return try stage.open!.slices!.take(slices.value).map(HandedOver.init)
      }
    }
  }

  /// - Throws: `EngineError` where slices are not a whole update of this model.
  func check(_ slices: HandedOver<[WeightSlice]>) async throws {
    try await perform { stage in
      var update = stage.sliced(.inPlace)
      try update.note(slices.value)
      _ = try update.finished()
    }
  }

  private func sliced(_ staging: WeightStaging) -> SlicedUpdate {
    SlicedUpdate(shards, devices: devices, staging: staging, quantized: Set(places.scalings.keys))
  }

  /// Changes the open update; where that fails, the update has failed.
  private func adding<R>(_ body: () throws -> R) throws -> R {
    guard open != nil else { throw noUpdate }
    do {
      let result = try body()
      open!.arrivals += 1
      watch()
      return result
    } catch {
      open!.failure = open!.failure ?? error
      throw error
    }
  }

  /// What an update brought.
  enum Finished {
    case whole([StagedWeight])
    /// By rank and name: what a rank holds, or nothing where that is in the model already.
    case slices([[String: Tensor]])
  }

  /// What the update holds; it is closed then, whatever comes of it.
  func take() async throws -> HandedOver<Finished> {
    try await perform { stage in
      guard let update = stage.open else { throw stage.noUpdate }
      stage.open = nil
      if let failure = update.failure {
        throw EngineError(
          "Nothing of the weight update was applied, because a part of it failed (\(failure)); begin again and send every tensor.")
      }
      if let slices = update.slices { return HandedOver(.slices(try slices.finished())) }
      return HandedOver(.whole(try stage.places.joined(Array(update.weights.values))))
    }
  }

  /// Forgets the open update.
  func abandon() async { await perform { $0.open = nil } }

  var isOpen: Bool { get async { await perform { $0.open != nil } } }

  private var noUpdate: EngineError {
    EngineError(
      lapsed
        ? "The weight update was forgotten, as its sender was silent for \(patience); begin again and send every tensor."
        : "No weight update is open; begin one first.")
  }

  /// Forgets the update unless something arrives in time.
  private func watch() {
    guard let (number, arrivals) = open.map({ ($0.number, $0.arrivals) }) else { return }
    queue.asyncAfter(deadline: .now() + .milliseconds(Int(patience / .milliseconds(1)))) { [weak self] in
      guard let self, let update = self.open, update.number == number, update.arrivals == arrivals else { return }
      (self.open, self.lapsed) = (nil, true)
    }
  }

  // MARK: Updates in one piece

  func staged(_ bucket: sending [NamedTensor]) async throws -> HandedOver<[StagedWeight]> {
    let bucket = HandedOver(bucket)
    return try await perform { HandedOver(try $0.places.joined($0.places.staged(bucket.value))) }
  }

  func staged(_ bucket: [NamedBytes]) async throws -> HandedOver<[StagedWeight]> {
    try await perform { HandedOver(try $0.places.joined($0.places.staged(bucket.map { try $0.named() }))) }
  }

  func staged(_ folder: URL) async throws -> HandedOver<[StagedWeight]> {
    try await perform { HandedOver(try $0.places.staged(HuggingFaceFolder(folder))) }
  }

  private func perform<Value: Sendable>(_ body: @escaping @Sendable (WeightStage) throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      queue.async { continuation.resume(with: Result { try withoutGradients { try body(self) } }) }
    }
  }

  private func perform<Value: Sendable>(_ body: @escaping @Sendable (WeightStage) -> Value) async -> Value {
    await withCheckedContinuation { continuation in queue.async { continuation.resume(returning: body(self)) } }
  }
}

/// A value that one thread leaves for another and does not touch again.
package struct HandedOver<Value>: @unchecked Sendable {
  package let value: Value
  package init(_ value: Value) { self.value = value }
}
