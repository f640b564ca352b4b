import Checkpoints
import Foundation
import Models

/// `slime convert`.
public enum Conversion {
  public static func run(_ configuration: ConvertConfiguration) throws {
    let folder = try HuggingFaceFolder(URL(fileURLWithPath: configuration.hfCheckpoint))
    if let save = configuration.save {
      let directory = CheckpointDirectory(URL(fileURLWithPath: save))
      try CheckpointConversion.toTorchDist(folder, in: directory)
      try directory.record(iteration: 0)
      return
    }
    guard let target = configuration.saveHF.map({ URL(fileURLWithPath: $0) }) else { return }
    let quantized = configuration.quantization == .fp8
    guard let load = configuration.load else {
      return try CheckpointConversion.toHuggingFace(folder, to: target, quantized: quantized)
    }
    let directory = CheckpointDirectory(URL(fileURLWithPath: load))
    guard let iteration = try directory.latestIteration() else {
      throw ConfigurationError("--load \(load) holds no checkpoint: there is no \(CheckpointDirectory.trackerName) in it")
    }
    try CheckpointConversion.toHuggingFace(
      directory.folder(iteration: iteration), like: folder, to: target, quantized: quantized)
  }
}
