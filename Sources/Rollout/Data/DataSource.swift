import Foundation

/// Where a rollout gets its prompts, and gives back what it did not use.
public protocol DataSource: Sendable {
  /// The next groups; each holds one prompt's samples, pending or partly generated.
  func groups(_ count: Int) async throws -> [[Sample]]
  /// Keeps groups for the next calls of `groups`, first in, first out.
  func putBack(_ groups: [[Sample]]) async
  /// Writes all that the order of the following groups depends on.
  func save(to file: URL) async throws
  /// Continues where `save` was called.
  func load(from file: URL) async throws
}

/// Groups from a buffer first, then from a dataset, epoch after epoch.
///
/// With `shuffles`, epoch e has the order that seed + e gives. A group's samples are copies of the prompt, numbered in the
/// order in which they are handed out.
public actor RolloutDataSource: DataSource {
  let dataset: PromptDataset
  let samplesPerPrompt: Int
  let shuffles: Bool
  let seed: Int

  private var order: [Int]
  var epoch = 0
  /// Prompts of this epoch handed out so far.
  var offset = 0
  var nextGroupIndex = 0
  var nextSampleIndex = 0
  var buffer: [[Sample]] = []

  public init(dataset: PromptDataset, samplesPerPrompt: Int = 1, shuffles: Bool = false, seed: Int = 42) {
    (self.dataset, self.samplesPerPrompt, self.shuffles, self.seed) = (dataset, samplesPerPrompt, shuffles, seed)
    order = Self.order(of: dataset.prompts.count, seed: shuffles ? seed : nil)
  }

  public nonisolated var promptCount: Int { dataset.prompts.count }

  public func groups(_ count: Int) -> [[Sample]] {
    let buffered = min(count, buffer.count)
    defer { buffer.removeFirst(buffered) }
    return Array(buffer[..<buffered]) + (buffered..<count).map { _ in nextGroup() }
  }

  public func putBack(_ groups: [[Sample]]) { buffer += groups }

  private func nextGroup() -> [Sample] {
    if offset == order.count {
      epoch += 1
      offset = 0
      order = Self.order(of: dataset.prompts.count, seed: shuffles ? seed + epoch : nil)
    }
    let prompt = dataset.prompts[order[offset]]
    offset += 1
    defer { nextGroupIndex += 1 }
    return (0..<samplesPerPrompt).map { _ in
      var sample = prompt
      (sample.groupIndex, sample.index) = (nextGroupIndex, nextSampleIndex)
      nextSampleIndex += 1
      return sample
    }
  }

  private static func order(of count: Int, seed: Int?) -> [Int] {
    seed.map { permutation(of: count, seed: $0) } ?? Array(0..<count)
  }

  func restore(_ state: DataSourceState) {
    (epoch, offset) = (state.epoch, state.offset)
    (nextGroupIndex, nextSampleIndex) = (state.nextGroupIndex, state.nextSampleIndex)
    buffer = state.buffer
    order = Self.order(of: dataset.prompts.count, seed: shuffles ? seed + epoch : nil)
  }
}
