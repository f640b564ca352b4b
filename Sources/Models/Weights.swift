import Checkpoints
import Foundation
import Torch

/// Loading of parameters from checkpoint files, by their declarations.
public struct WeightLoader {
  private let files: StoredTensors
  private let folder: String
  /// Weights of a critic's head that the folder does not have: they start fresh, equal on every rank.
  private let fresh: Set<String>

  /// Checks names in both directions and all shapes before anything is read. A stage of a pipeline checks its own.
  /// - Throws: `CheckpointError` or `ModelError` naming file, tensor, expected and found.
  public init(_ folder: HuggingFaceFolder, for model: CausalLM) throws {
    files = StoredTensors(try folder.weights(), model.configuration)
    self.folder = folder.url.path
    var wanted = Set<String>()
    let pieces = model.table.parameters.flatMap(\.pieces)
    let headNames = Set(pieces.map(\.checkpointName).filter(ValueHead.holds))
    fresh = headNames.isEmpty ? [] : headNames.subtracting(files.names)
    for piece in pieces where !fresh.contains(piece.checkpointName) {
      wanted.formUnion(files.storedNames(piece))
      try files.check(piece)
    }
    // A tied head may be stored all the same, and a critic leaves the vocabulary's aside; old Llama files carry their
    // rotary frequencies; layers that predict tokens further on are left aside; other ranks hold other experts.
    let configuration = model.configuration
    let extraLayers = configuration.layerCount..<configuration.layerCount + configuration.extraLayerCount
    let head = configuration.storedName("lm_head.weight")
    let harmless = { (name: String) in
      name.hasSuffix("rotary_emb.inv_freq")
        || ((configuration.tiesEmbeddings || configuration.head == .value) && name == head)
        || configuration.ignoredPrefixes.contains(where: name.hasPrefix)
        || configuration.ignoredSuffixes.contains(where: name.hasSuffix)
        || CausalLM.layer(of: name).map { extraLayers.contains($0) } == true
        || (model.parallel.expert.size > 1 && name.contains(".experts."))
    }
    guard model.stage.isWhole(of: configuration) else { return }
    if let extra = files.names.first(where: { !wanted.contains($0) && !harmless($0) }) {
      throw ModelError(
        "\(self.folder) holds tensor '\(extra)', which a model of type \(model.configuration.modelType) with this config.json does not have")
    }
  }

  /// This rank's part of a parameter, in the checkpoint's type or `dtype`, on the CPU.
  public func tensor(_ parameter: Parameter, dtype: DType? = nil) throws -> Tensor {
    try withoutGradients {
      if fresh.contains(parameter.name) {
        return parameter.initializer.tensor(parameter.shape, Generator(seed: 0)).to(dtype: dtype)
      }
      let parts = try parameter.pieces.map { piece in
        let whole = try files.tensor(piece)
        guard let slice = piece.slice else { return whole }
        let range = slice.range(of: piece.shape[slice.dimension])
        return whole.narrow(slice.dimension, start: range.lowerBound, length: range.count)
      }
      let joined = parts.count == 1 ? parts[0] : Tensor.cat(parts, dim: 0)
      return joined.to(dtype: dtype)
    }
  }
}

extension CausalLM {
  /// Gives every parameter memory on `device` and the checkpoint's values.
  public func load(_ folder: HuggingFaceFolder, dtype: DType, device: Device) throws {
    let loader = try WeightLoader(folder, for: self)
    for parameter in table.parameters {
      parameter.tensor = try loader.tensor(parameter, dtype: parameter.isLearned ? dtype : parameter.dtype)
        .to(device: device, copy: true).contiguous()
    }
  }

  /// Gives every parameter memory on the CPU and fresh values; equal seeds give equal models.
  public func initialize(seed: UInt64) {
    let generator = Generator(seed: seed)
    for parameter in table.parameters { parameter.tensor = parameter.initializer.tensor(parameter.shape, generator) }
  }

  /// Writes the weights of a whole model into a Hugging Face folder, in one file.
  public func save(to folder: URL) throws {
    var assembly = StoredLayout(self).assembly()
    try SafetensorsWriter.write(
      to: folder.appendingPathComponent(WeightFiles.singleFile),
      tensors: table.parameters.flatMap { parameter in
        checkpointTensors(parameter, parameter.tensor).compactMap { assembly.add($0.name, $0.tensor) }
          .map { TensorSource($0.name, $0.tensor) }
      })
  }
}

extension Initializer {
  /// A fresh fp32 tensor on the CPU.
  public func tensor(_ shape: [Int], _ generator: Generator) -> Tensor {
    switch self {
    case .constant(let value): .full(shape, value)
    case .normal(let deviation): Tensor.randn(shape, generator: generator).mul_(deviation)
    }
  }
}

/// Cuts a parameter's whole value into the checkpoint tensors it is made of, as views.
public func checkpointTensors(_ parameter: Parameter, _ value: Tensor) -> [(name: String, tensor: Tensor)] {
  parameter.rows.map { ($0.piece.checkpointName, value[$0.rows]) }
}
