import Foundation
import Torch

/// One rank of a training backend. Every rank is called with the same arguments, in the same order.
public protocol TrainBackend: AnyObject {
  /// Learns from a rollout: one or several optimizer steps.
  /// - Returns: metrics of the rollout, and of each step, the same on every rank; names without their `train/` prefix.
  func train(_ batch: TrainBatch) throws -> TrainReport

  /// Log-probability and entropy of every token but the first, given those before it; the sequences that this rank
  /// computed, by their place in `sequences`.
  func score(_ sequences: [[Int32]], tokensPerPack: Int) throws -> [ScoredSequence]

  /// The weights come in units; each is gathered from all ranks at once.
  var weightUnitCount: Int { get }

  /// The weights of a unit, whole and in fp32, by their checkpoint names. Every rank must ask for the same unit.
  func weights(ofUnit index: Int) throws -> [(name: String, tensor: Tensor)]

  /// Writes this rank's part of the training state into `folder`, and reads it back (from any number of ranks).
  func saveState(into folder: URL) throws
  func loadState(from folder: URL) throws

  /// Optimizer steps done so far.
  var stepCount: Int { get }
}

extension TrainBackend {
  /// Visits all weights. Every rank must go through all of them; `visit` runs on each.
  public func forEachWeight(_ visit: (_ name: String, _ tensor: Tensor) throws -> Void) throws {
    for index in 0..<weightUnitCount {
      for (name, tensor) in try weights(ofUnit: index) { try visit(name, tensor) }
    }
  }
}

public struct TrainReport: Sendable, Codable, Equatable {
  /// `rollout/…` means over the rollout's samples or tokens.
  public var rollout: [String: Double] = [:]
  /// One entry an optimizer step.
  public var steps: [[String: Double]] = []
  /// Trained tokens, prompts included.
  public var tokens = 0
}

public struct ScoredSequence: Sendable, Codable, Equatable {
  public var index: Int
  public var logProbs: [Float]
  public var entropy: [Float]
}
