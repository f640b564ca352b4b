import JSON
import Torch

/// What an engine is told to make of a checkpoint's linear weights (SGLang's `--quantization`).
public enum WeightQuantization: String, Sendable, Codable, CaseIterable {
  /// e4m3: as they are stored where they are stored so, else with one scale for each output.
  case fp8
  /// Plain numbers, also where they are stored as e4m3.
  case unquantized = "unquant"
}

extension ModelConfiguration {
  /// The model with its linear weights as an engine keeps them.
  /// - Parameter choice: nil: as they are stored.
  public func quantized(_ choice: WeightQuantization?) -> ModelConfiguration {
    var configuration = self
    configuration.quantization =
      switch choice {
      case nil: storedQuantization
      case .fp8: storedQuantization ?? Float8Scheme(.row)
      case .unquantized: nil
      }
    return configuration
  }
}

extension ConfigReader {
  /// How `quantization_config` says that linear weights are stored as e4m3; nil: as plain numbers, or in MXFP4, which become
  /// plain numbers when they are read.
  /// - Throws: `ModelError` about what cannot be read here.
  public func quantization() throws -> Float8Scheme? {
    guard let json = value("quantization_config") else { return nil }
    let config = ConfigReader(json, source: source + ": quantization_config")
    switch try config.text("quant_method") {
    case "mxfp4": return nil
    case "fp8": return try config.fineGrained()
    case "compressed-tensors": return try config.compressedTensors()
    case let other:
      throw ModelError(
        "\(config.source) has quant_method '\(other)', which is not supported; supported are fp8, and compressed-tensors with "
          + "8-bit floats: take the model's checkpoint in one of these or in bf16")
    }
  }

  /// As `transformers` (FineGrainedFP8Config) and DeepSeek-V3 write it.
  private func fineGrained() throws -> Float8Scheme {
    try refuse("fmt", unless: { ["e4m3", "float8_e4m3fn"].contains($0.string) }, "only e4m3 is supported")
    try refuse("expert_dtype", unless: { $0 == "fp8" }, "only fp8 is supported")
    try refuse("activation_scheme", unless: { $0 == "dynamic" }, Self.onlyDynamic)
    let excluded = try texts("modules_to_not_convert") ?? texts("ignored_layers") ?? []
    return Float8Scheme(try blockSize("weight_block_size") ?? .tensor, excludedModules: excluded)
  }

  /// The 8-bit floats of compressed-tensors, all linear layers in one way.
  private func compressedTensors() throws -> Float8Scheme {
    guard let groups = value("config_groups")?.object, let group = groups.pairs.first?.1, groups.pairs.count == 1 else {
      throw ModelError("\(source) has not exactly one of config_groups; only checkpoints that are quantised in one way are supported")
    }
    let weights = ConfigReader(group["weights"] ?? .null, source: source + ", weights")
    let kind = (try weights.text("type", default: "int"), try weights.count("num_bits", default: 8))
    guard kind == ("float", 8), try weights.flag("symmetric", default: true) else {
      throw ModelError(
        "\(weights.source) are \(kind.0) of \(kind.1) bits; only symmetric 8-bit floats are supported: take the model's "
          + "checkpoint in fp8 or in bf16")
    }
    let inputs = ConfigReader(group["input_activations"] ?? .null, source: source + ", input_activations")
    try inputs.refuse("dynamic", unless: { $0.bool == true }, Self.onlyDynamic)
    let scaling: Float8Scaling
    switch try weights.text("strategy") {
    case "tensor": scaling = .tensor
    case "channel": scaling = .row
    case "block": scaling = try weights.blockSize("block_structure") ?? .publishedBlock
    case let other:
      throw ModelError("\(weights.source) has strategy '\(other)'; supported are tensor, channel and block")
    }
    return Float8Scheme(scaling, excludedModules: try texts("ignore") ?? [])
  }

  private static let onlyDynamic =
    "only activations that are quantised as they come are supported; take a checkpoint with dynamic activation scales, or one in bf16"

  private func texts(_ key: String) throws -> [String]? {
    guard let value = value(key) else { return nil }
    let texts = value.array?.compactMap(\.string)
    guard let texts, texts.count == value.array?.count else {
      throw ModelError("\(source) has \(key) = \(value.text()), but it must be a list of names")
    }
    return texts
  }

  private func blockSize(_ key: String) throws -> Float8Scaling? {
    guard value(key) != nil else { return nil }
    let sizes = try counts(key)
    guard sizes.count == 2, sizes.allSatisfy({ $0 > 0 }) else {
      throw ModelError("\(source) has \(key) = \(sizes), but it must be two sizes of at least 1")
    }
    return .block(rows: sizes[0], columns: sizes[1])
  }
}
