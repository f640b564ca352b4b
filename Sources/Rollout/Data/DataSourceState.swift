import Foundation
import JSON

/// Where a data source stands: saved beside a checkpoint as JSON, under slime's key names, with the buffer that slime leaves
/// out and what the order depends on.
struct DataSourceState: Equatable {
  var epoch: Int
  var offset: Int
  var nextGroupIndex: Int
  var nextSampleIndex: Int
  var buffer: [[Sample]]
  var promptCount: Int
  var shuffles: Bool
  var seed: Int

  var json: JSONValue {
    [
      "sample_offset": .int(offset), "epoch_id": .int(epoch), "sample_group_index": .int(nextGroupIndex),
      "sample_index": .int(nextSampleIndex), "metadata": [:],
      "num_prompts": .int(promptCount), "rollout_shuffle": .bool(shuffles), "rollout_seed": .int(seed),
      "buffer": .array(buffer.map { .array($0.map(\.json)) }),
    ]
  }

  init(
    epoch: Int, offset: Int, nextGroupIndex: Int, nextSampleIndex: Int, buffer: [[Sample]], promptCount: Int,
    shuffles: Bool, seed: Int
  ) {
    (self.epoch, self.offset) = (epoch, offset)
    (self.nextGroupIndex, self.nextSampleIndex, self.buffer) = (nextGroupIndex, nextSampleIndex, buffer)
    (self.promptCount, self.shuffles, self.seed) = (promptCount, shuffles, seed)
  }

  init(json: JSONValue) throws(SampleError) {
    guard let object = json.object else { throw SampleError("the state must be an object, not \(json.kind)") }
    var fields = FieldReader(object)
    func needed<Value>(_ value: Value?, _ key: String) throws(SampleError) -> Value {
      guard let value else { throw SampleError("field '\(key)' is missing") }
      return value
    }
    offset = try needed(fields.int("sample_offset"), "sample_offset")
    epoch = try needed(fields.int("epoch_id"), "epoch_id")
    nextGroupIndex = try needed(fields.int("sample_group_index"), "sample_group_index")
    nextSampleIndex = try needed(fields.int("sample_index"), "sample_index")
    promptCount = try needed(fields.int("num_prompts"), "num_prompts")
    shuffles = try needed(fields.bool("rollout_shuffle"), "rollout_shuffle")
    seed = try needed(fields.int("rollout_seed"), "rollout_seed")
    buffer = []
    for group in try fields.array("buffer", of: "groups", \.array) ?? [] {
      var samples: [Sample] = []
      for sample in group { samples.append(try Sample(json: sample)) }
      buffer.append(samples)
    }
    guard (0...promptCount).contains(offset), epoch >= 0 else {
      throw SampleError("sample_offset \(offset) of epoch \(epoch) lies outside of \(promptCount) prompts")
    }
  }
}

extension RolloutDataSource {
  /// slime's place of the state that belongs to a rollout, below the save folder.
  public static func stateFile(in saveFolder: URL, rolloutID: Int) -> URL {
    saveFolder.appendingPathComponent("rollout/global_dataset_state_dict_\(rolloutID).json")
  }

  public func save(to file: URL) throws {
    let state = DataSourceState(
      epoch: epoch, offset: offset, nextGroupIndex: nextGroupIndex, nextSampleIndex: nextSampleIndex, buffer: buffer,
      promptCount: promptCount, shuffles: shuffles, seed: seed)
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try state.json.data().write(to: file, options: .atomic)
  }

  /// - Throws: `DatasetError` when the file cannot be read, or was saved over other data or in another order.
  public func load(from file: URL) throws {
    let state: DataSourceState
    do { state = try DataSourceState(json: JSONValue(parsing: Data(contentsOf: file))) } catch {
      throw DatasetError("the data source state \(file.path) cannot be used: \(error)")
    }
    guard state.promptCount == promptCount else {
      throw DatasetError(
        "\(file.path) was saved over \(state.promptCount) prompts, but \(dataset.path) has \(promptCount); "
          + "resume with the same --prompt-data, or remove the file to begin the data anew")
    }
    guard state.shuffles == shuffles, state.seed == seed || !shuffles else {
      throw DatasetError(
        "\(file.path) was saved with --rollout-seed \(state.seed)\(state.shuffles ? " and --rollout-shuffle" : ""); "
          + "resume with the same, or remove the file to begin the data anew")
    }
    restore(state)
  }
}
