import Checkpoints
import Foundation
import Models

extension Inspection {
  /// What the headers of a folder's weight files say. Names and shapes are those that the model wants.
  public struct StoredWeights: Sendable, Encodable {
    public var files: Int
    public var tensors: Int
    /// Of all tensors, by type (safetensors' names).
    public var bytes: [String: Int]

    /// - Parameter model: whole.
    /// - Returns: nil: the folder has no weights, nor an index of them.
    /// - Throws: about files that are missing, cut short or not the model's.
    init?(_ folder: HuggingFaceFolder, _ model: CausalLM) throws {
      guard folder.hasWeightFiles else { return nil }
      let weights = try folder.weights()
      _ = try WeightLoader(folder, for: model)
      (files, tensors) = (weights.files.count, weights.names.count)
      let descriptions = try weights.names.map(weights.description)
      bytes = Dictionary(descriptions.map { ($0.dtype.rawValue, $0.byteRange.count) }, uniquingKeysWith: +)
    }
  }
}
