import Checkpoints
import Foundation
import JSON
import Models
import Torch

/// A LoRA adapter in host memory, whole.
struct Adapter {
  /// What is added to one matrix: W + B A.
  struct Factors {
    /// A. `[rank, inputs]`
    let down: Tensor
    /// B, scaled. `[outputs, rank]`
    let up: Tensor
  }

  let description: AdapterDescription
  /// By the checkpoint names of the matrices.
  let factors: [String: Factors]
}

/// Reads adapters and checks them against the model that they are for. Nothing of it touches the model itself.
struct AdapterLoader: Sendable {
  static let weightsFile = "adapter_model.safetensors"
  private static let prefix = "base_model.model."

  private let options: AdapterOptions
  private let dtype: DType
  /// Of the matrices that adapters can change, by their checkpoint names.
  private let shapes: [String: [Int]]

  /// - Parameter dtype: that the model computes in.
  init(_ configuration: ModelConfiguration, dtype: DType, options: AdapterOptions) throws {
    try options.validate()
    (self.options, self.dtype) = (options, dtype)
    // A copy of the model without memory.
    let pieces = try configuration.model(parallel: .single(), dtype: dtype).table.parameters
      .filter(\.takesLowRankTerms).flatMap(\.pieces)
    shapes = Dictionary(uniqueKeysWithValues: pieces.map { ($0.checkpointName, $0.shape) })
    let known = Set(shapes.keys.map(Self.target))
    if let unknown = options.targets?.subtracting(known).min() {
      throw EngineError(
        "--lora-target-modules names \(unknown), and the model's linear layers are \(known.sorted().joined(separator: ", ")); "
          + "name some of these, or all.")
    }
  }

  /// - Throws: `InvalidRequest`, or what is wrong with the file of tensors.
  func load(_ name: String, from folder: URL) throws -> Adapter {
    try check(name)
    let configuration = try AdapterConfiguration(folder, of: name)
    let url = folder.appendingPathComponent(Self.weightsFile)
    guard FileManager.default.fileExists(atPath: url.path) else {
      throw InvalidRequest(
        "The adapter \(name) has no \(Self.weightsFile) in \(folder.path); save it with PEFT's save_pretrained.")
    }
    let file = try SafetensorsFile(url)
    let tensors = try file.tensors.map { NamedTensor($0.name, try file.tensor($0.name)) }
    return try adapter(AdapterDescription(name: name, path: folder.path), configuration, tensors)
  }

  /// Of an adapter that is in no folder.
  func load(_ name: String, configuration: JSONValue, tensors: [NamedBytes]) throws -> Adapter {
    try check(name)
    return try adapter(
      AdapterDescription(name: name, path: nil), AdapterConfiguration(configuration, of: name),
      tensors.map { try $0.named() })
  }

  private func check(_ name: String) throws(InvalidRequest) {
    guard !name.isEmpty, !name.contains(":") else {
      throw InvalidRequest("An adapter's name must not be empty nor have a colon in it, got '\(name)'; choose another.")
    }
  }

  private func adapter(
    _ description: AdapterDescription, _ configuration: AdapterConfiguration, _ tensors: [NamedTensor]
  ) throws -> Adapter {
    try catchingTorchErrors {
      try withoutGradients {
        let factors = try factors(tensors, description.name) { configuration.scale(rank: $0) }
        return Adapter(description: description, factors: factors)
      }
    }
  }

  private func factors(
    _ tensors: [NamedTensor], _ name: String, scale: (_ rank: Int) -> Double
  ) throws -> [String: Adapter.Factors] {
    var halves: [String: (down: Tensor?, up: Tensor?)] = [:]
    for tensor in tensors {
      let place = try place(tensor.name, name)
      let value = tensor.tensor
      guard value.to(dtype: .float32).isfinite().all().item() != 0 else {
        throw InvalidRequest("The adapter \(name) has numbers in '\(tensor.name)' that are not finite; save a sound one.")
      }
      var half = halves[place.matrix] ?? (nil, nil)
      if place.isDown { half.down = value } else { half.up = value }
      halves[place.matrix] = half
    }
    guard !halves.isEmpty else { throw InvalidRequest("The adapter \(name) has no tensors; save it again.") }
    return try Dictionary(uniqueKeysWithValues: halves.sorted { $0.key < $1.key }.map { matrix, halves in
      guard let down = halves.down, let up = halves.up else {
        throw InvalidRequest(
          "The adapter \(name) has only one of lora_A and lora_B for \(matrix); save it again with both.")
      }
      let shape = shapes[matrix]!
      let rank = down.shape.first ?? 0
      guard rank > 0, down.shape == [rank, shape[1]], up.shape == [shape[0], rank] else {
        throw InvalidRequest(
          "The adapter \(name) has shapes \(down.shape) and \(up.shape) for \(matrix), which is \(shape); "
            + "use the model that it was trained on.")
      }
      if let most = options.maxRank, rank > most {
        throw InvalidRequest(
          "The adapter \(name) has rank \(rank) for \(matrix), above --max-lora-rank \(most); start the engine with \(rank).")
      }
      return (
        matrix,
        Adapter.Factors(
          down: down.to(dtype: dtype, copy: true).contiguous(),
          up: (up.to(dtype: .float32) * scale(rank)).to(dtype: dtype).contiguous())
      )
    })
  }

  /// The matrix that a tensor of an adapter's is for, and whether it is A.
  private func place(_ tensor: String, _ name: String) throws(InvalidRequest) -> (matrix: String, isDown: Bool) {
    for (suffix, isDown) in [(".lora_A.weight", true), (".lora_B.weight", false)] where tensor.hasSuffix(suffix) {
      guard tensor.hasPrefix(Self.prefix) else { break }
      let module = String(tensor.dropFirst(Self.prefix.count).dropLast(suffix.count))
      guard shapes[module + ".weight"] != nil else {
        throw InvalidRequest(
          "The adapter \(name) changes \(module), which is no linear layer of this model that takes adapters; "
            + "train it on \(Set(shapes.keys.map(Self.target)).sorted().joined(separator: ", ")).")
      }
      let target = Self.target(module + ".weight")
      guard options.targets?.contains(target) ?? true else {
        throw InvalidRequest(
          "The adapter \(name) changes \(module), and --lora-target-modules does not name \(target); add it.")
      }
      return (module + ".weight", isDown)
    }
    throw InvalidRequest(
      "The adapter \(name) has a tensor '\(tensor)', which is no LoRA factor of a linear layer; train it without, or merge it "
        + "into the model.")
  }

  /// What PEFT's target_modules call a layer: `q_proj` of `model.layers.0.self_attn.q_proj.weight`.
  private static func target(_ matrix: String) -> String {
    String(matrix.split(separator: ".").dropLast().last ?? "")
  }
}
