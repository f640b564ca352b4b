import Foundation
import JSON
import Rollout

extension TrainConfiguration {
  /// Checks that what is to be read exists, and the architecture flags against config.json.
  public func validateFiles() throws(ConfigurationError) {
    try architecture.check(model: checkpoint.hfCheckpoint, flag: "hf-checkpoint")
    if let reference = checkpoint.referenceLoad { try requireFile(reference + "/config.json", of: "--ref-load \(reference)") }
    if let teacher = distillation.teacherLoad { try requireFile(teacher + "/config.json", of: "--opd-teacher-load \(teacher)") }
    if debug.loadRolloutData == nil { try requireFile(DatasetPath(data.promptData).file, of: "--prompt-data \(data.promptData)") }
    for set in eval.datasets { try requireFile(DatasetPath(set.path).file, of: "--eval-prompt-data \(set.name) \(set.path)") }
  }
}

extension ScoreConfiguration {
  /// Checks the flags, that what is to be read exists, and the architecture flags against config.json.
  public func validate() throws(ConfigurationError) {
    for (flag, value) in [("hf-checkpoint", hfCheckpoint), ("input", input), ("output", output)] {
      try require(!value.isEmpty, "--\(flag) is required")
    }
    try cluster.validate(device: backend.device)
    var backend = backend
    backend.useDynamicBatchSize = backend.maxTokensPerGPU != nil
    try backend.validate()
    _ = try backend.layout(worldSize: cluster.trainerRanks)
    try architecture.check(model: hfCheckpoint, flag: "hf-checkpoint")
    try requireFile(input, of: "--input \(input)")
  }
}

extension ConvertConfiguration {
  public func validate() throws(ConfigurationError) {
    try require(!hfCheckpoint.isEmpty, "--hf-checkpoint is required: the folder of the model")
    try require(
      (save == nil) != (saveHF == nil) && (load == nil || saveHF != nil) && (save != nil || load != nil || quantization != nil),
      "give --save FOLDER to write a torch_dist checkpoint, --load FOLDER and --save-hf FOLDER to read one, or --save-hf FOLDER "
        + "and --quantization to change how a Hugging Face folder's weights are stored")
    try require(quantization == nil || saveHF != nil, "--quantization has no effect without --save-hf FOLDER; leave it out")
    try requireFile(hfCheckpoint + "/config.json", of: "--hf-checkpoint \(hfCheckpoint)")
  }
}

extension InspectConfiguration {
  public func validate() throws(ConfigurationError) {
    try require(!folder.isEmpty, "the folder to inspect is missing: slime inspect FOLDER")
  }
}

extension ServeConfiguration {
  public func validate() throws(ConfigurationError) {
    try require(!modelPath.isEmpty, "--model-path is required: the folder of the model to serve")
    try require((0...65535).contains(port), "--port must be between 0 (any free one) and 65535, not \(port)")
    try require(
      (0...86400).contains(drainTimeout), "--drain-timeout must be 0 to 86400 seconds, not \(drainTimeout)")
    try engine.validate()
    try require(dataParallelSize >= 1, "--dp-size must be at least 1, not \(dataParallelSize)")
    try lora.validate()
    try requireFile(modelPath + "/config.json", of: "--model-path \(modelPath)")
    if let tokenizerPath { try requireFile(tokenizerPath + "/tokenizer.json", of: "--tokenizer-path \(tokenizerPath)") }
  }
}

extension GenerateConfiguration {
  public func validate() throws(ConfigurationError) {
    try require(!hfCheckpoint.isEmpty, "--hf-checkpoint is required: the folder of the model")
    try require(!prompt.isEmpty, "--prompt is required: the text to continue")
    try require(maxNewTokens >= 0, "--max-new-tokens must not be negative, not \(maxNewTokens)")
    try require(temperature >= 0 && temperature.isFinite, "--temperature must not be negative, not \(temperature)")
    try require(topP > 0 && topP <= 1, "--top-p must be above 0 and at most 1, not \(topP)")
    try require(topK == -1 || topK >= 1, "--top-k must be at least 1, or -1 for all tokens, not \(topK)")
    try requireFile(hfCheckpoint + "/config.json", of: "--hf-checkpoint \(hfCheckpoint)")
  }
}

extension [ArchitectureClaim] {
  func check(model folder: String, flag: String) throws(ConfigurationError) {
    let file = folder + "/config.json"
    try requireFile(file, of: "--\(flag) \(folder)")
    if isEmpty { return }
    let config: JSONValue
    do {
      config = try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: file)))
    } catch {
      throw ConfigurationError("\(file) cannot be read: \(error)")
    }
    for claim in self { try claim.check(against: config) }
  }
}

func requireFile(_ path: String, of flag: String) throws(ConfigurationError) {
  try require(FileManager.default.fileExists(atPath: path), "\(flag): there is no file \(path)")
}
