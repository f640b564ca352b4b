import Checkpoints
import Foundation
import JSON
import Models
import Torch

/// One of Tests/Fixtures/rotary: a model of Tests/Fixtures/models with a shorter original context, and what `transformers`
/// makes of sequences on both sides of it.
public struct RotaryFixture {
  public let configuration: ModelConfiguration
  public let config: JSONValue
  /// Has the weights; its config.json is not `config`.
  public let folder: HuggingFaceFolder
  public let reference: SafetensorsFile
  public let sequences: [[Int32]]
  /// Of each sequence's tokens but the first.
  public let logProbs: [[Float]]

  public init(_ name: String) throws {
    let description = try JSONValue(parsing: Data(contentsOf: fixture("rotary/\(name).json")))
    folder = try HuggingFaceFolder(fixture("models/\(description["model"]!.string!)"))
    var config = folder.config.object!
    for (key, value) in description["changes"]!.object!.pairs { config[key] = value }
    self.config = .object(config)
    configuration = try ModelRegistry.configuration(.object(config), source: "a fixture")
    reference = try SafetensorsFile(fixture("rotary/\(name).safetensors"))
    let tokens: [Int] = try reference.tensor("tokens").array()
    let bounds: [Int] = try reference.tensor("cu_seqlens").array()
    let logProbs: [Float] = try reference.tensor("log_probs").array()
    let ranges = zip(bounds, bounds.dropFirst()).map { $0..<$1 }
    sequences = ranges.map { tokens[$0].map(Int32.init) }
    self.logProbs = ranges.enumerated().map { place, range in
      Array(logProbs[range.lowerBound - place..<range.upperBound - place - 1])
    }
  }
}
