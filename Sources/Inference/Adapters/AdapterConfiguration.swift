import Checkpoints
import Foundation
import JSON

/// What an adapter's adapter_config.json says (PEFT's `LoraConfig`), as far as it is not in the tensors.
///
/// Which modules are adapted, and with which rank, is read off the tensors.
struct AdapterConfiguration {
  static let file = "adapter_config.json"

  private let alpha: Double
  private let scalesByRoot: Bool

  /// - Throws: `InvalidRequest` when it is no LoRA adapter, or asks for what an engine cannot add to a linear layer.
  init(_ folder: URL, of name: String) throws(InvalidRequest) {
    let url = folder.appendingPathComponent(Self.file)
    let text: String
    do { text = try String(contentsOf: url, encoding: .utf8) } catch {
      throw InvalidRequest(
        "The adapter \(name) has no readable \(Self.file) in \(folder.path); give the folder that PEFT saved it to.")
    }
    let json: JSONValue
    do { json = try JSONValue(parsing: text) } catch {
      throw InvalidRequest("\(url.path) of the adapter \(name) is \(error); save the adapter again.")
    }
    try self.init(json, of: name)
  }

  init(_ json: JSONValue, of name: String) throws(InvalidRequest) {
    guard json["peft_type"] == "LORA" else {
      throw InvalidRequest(
        "The adapter \(name) has peft_type \((json["peft_type"] ?? .null).text()), and only LORA is supported; merge it into the model.")
    }
    for (key, neutral) in Self.neutral {
      if let value = json[key], !neutral.contains(value) {
        throw InvalidRequest(
          "The adapter \(name) has \(key) \(value.text()), which is not supported; train it without, or merge it into the model.")
      }
    }
    // These begin with other base weights than those that the engine has.
    if let start = json["init_lora_weights"]?.string, ["pissa", "olora", "corda", "loftq"].contains(where: start.lowercased().hasPrefix) {
      throw InvalidRequest(
        "The adapter \(name) has init_lora_weights \(start), which changes the base model; convert it to a plain one with PEFT.")
    }
    guard let alpha = json["lora_alpha"]?.double, alpha.isFinite else {
      throw InvalidRequest("The adapter \(name) has no number lora_alpha in its \(Self.file); save it again.")
    }
    self.alpha = alpha
    scalesByRoot = json["use_rslora"]?.bool ?? false
  }

  /// What B A is multiplied by: α / r, or α / √r (Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with
  /// LoRA", 2023).
  func scale(rank: Int) -> Double { alpha / (scalesByRoot ? Double(rank).squareRoot() : Double(rank)) }

  /// What of PEFT's options changes more than the two factors, and the values that ask for none of it.
  private static let neutral: [(key: String, values: [JSONValue])] = [
    ("use_dora", [nil, false]), ("bias", [nil, "none"]), ("lora_bias", [nil, false]), ("modules_to_save", [nil, []]),
    ("fan_in_fan_out", [nil, false]), ("alpha_pattern", [nil, [:]]), ("layer_replication", [nil, []]),
    ("trainable_token_indices", [nil, [], [:]]), ("target_parameters", [nil, []]), ("use_qalora", [nil, false]),
    ("alora_invocation_tokens", [nil]), ("arrow_config", [nil]),
  ]
}
