import Checkpoints
import Foundation
import Torch

/// Loading of parameters from checkpoint files, by their declarations.
public struct WeightLoader {
  private let files: StoredTensors
  private let folder: String
  /// Weights of a critic's head that the folder does not have: they start fresh, equal on every rank.
  private let fresh: Set<String>
  /// Weights of prediction layers that the folder does not have.
  private let absent: Set<String>

  /// Checks names in both directions and all shapes before anything is read. A stage of a pipeline checks its own.
  /// - Parameter predictionIsOptional: whether the folder may lack all prediction layers of the model.
  /// - Throws: `CheckpointError` or `ModelError` naming file, tensor, expected and found.
  public init(_ folder: HuggingFaceFolder, for model: CausalLM, predictionIsOptional: Bool = false) throws {
    files = try StoredTensors(folder, model.configuration)
    self.folder = folder.url.path
    var wanted = Set<String>()
    let pieces = model.table.parameters.flatMap(\.pieces)
    let headNames = Set(pieces.map(\.checkpointName).filter(ValueHead.holds))
    fresh = headNames.isEmpty ? [] : headNames.subtracting(files.names)
    let predicting = pieces.filter { model.configuration.isOfPredictionLayer($0.checkpointName) }
    let lacksPrediction = Set(predicting.flatMap(files.storedNames)).isDisjoint(with: files.names)
    absent = predictionIsOptional && lacksPrediction ? Set(predicting.map(\.checkpointName)) : []
    for piece in pieces where !fresh.contains(piece.checkpointName) && !absent.contains(piece.checkpointName) {
      wanted.formUnion(files.storedNames(piece))
      try files.check(piece)
    }
    // A tied head may be stored all the same, and a critic leaves the vocabulary's aside; old Llama files carry their
    // rotary frequencies; layers that predict tokens further on are left aside; other ranks hold other experts.
    let configuration = model.configuration
    let extraLayers = configuration.layerCount..<configuration.layerCount + configuration.extraLayerCount
    let heads = configuration.storedParts("lm_head.weight", []).map(\.name)
    let harmless = { (name: String) in
      name.hasSuffix("rotary_emb.inv_freq")
        || ((configuration.tiesEmbeddings || configuration.head == .value) && heads.contains(name))
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

  /// Whether the folder has a parameter.
  public func holds(_ parameter: Parameter) -> Bool { !parameter.pieces.contains { absent.contains($0.checkpointName) } }

  /// This rank's part of a parameter, in the checkpoint's type (fp32 for e4m3 with scales) or `dtype`, on the CPU; zeros where
  /// the folder may lack it, and does.
  public func tensor(_ parameter: Parameter, dtype: DType? = nil) throws -> Tensor {
    try withoutGradients {
      if fresh.contains(parameter.name) {
        return parameter.initializer.tensor(parameter.shape, Generator(seed: 0)).to(dtype: dtype)
      }
      guard holds(parameter) else { return .zeros(parameter.shape, dtype: dtype ?? .float32) }
      if let dtype, parameter.pieces.count > 1 {
        let tensor = Tensor.empty(parameter.shape, dtype: dtype)
        try fill(tensor, with: parameter)
        return tensor
      }
      let parts = try parameter.pieces.map(part)
      let joined = parts.count == 1 ? parts[0] : Tensor.cat(parts, dim: 0)
      return joined.to(dtype: dtype)
    }
  }

  /// Brings this rank's part of a parameter into a tensor of its shape, whatever its type and device: read in place where
  /// the file has the same bytes, otherwise copied once.
  public func fill(_ target: Tensor, with parameter: Parameter) throws {
    try withoutGradients {
      guard !fresh.contains(parameter.name) else {
        return _ = target.copy_(parameter.initializer.tensor(parameter.shape, Generator(seed: 0)))
      }
      for (piece, rows) in parameter.rows {
        let own = target[rows]
        if try !files.read(piece, into: own) { own.copy_(try part(piece)) }
      }
    }
  }

  private func part(_ piece: ParameterPiece) throws -> Tensor {
    let dimension = piece.slice?.dimension ?? 0
    return try files.tensor(piece, dimension, piece.slice == nil ? nil : piece.range(dimension))
  }

  /// This rank's part of a weight that is kept as e4m3, on a device: as it is stored, or what the whole tensor makes when it
  /// is quantised, which the device does.
  public func float8(_ parameter: Parameter, _ scaling: Float8Scaling, on device: Device = .cpu) throws -> Float8Matrix {
    try withoutGradients {
      .joined(
        try parameter.pieces.map { piece in
          let isStored = try files.isFloat8(piece) && files.scaling?.groupSize == scaling.groupSize && files.keepsBlocks(piece)
          return isStored
            ? try files.float8(piece).part(piece).moved(to: device)
            : Float8Matrix(quantizing: try files.tensor(piece).to(device: device), scaling).part(piece)
        })
    }
  }
}

extension Float8Matrix {
  fileprivate func moved(to device: Device) -> Float8Matrix {
    Float8Matrix(values: values.to(device: device), scales: scales.to(device: device), groupSize: groupSize)
  }

  /// A rank's part of a whole checkpoint tensor.
  package func part(_ piece: ParameterPiece) -> Float8Matrix {
    guard let slice = piece.slice else { return self }
    return slice.dimension == 0 ? rows(piece.range(0)) : columns(piece.range(1))
  }
}

extension Parameter {
  /// This rank's part, of whole checkpoint tensors.
  func part(of tensor: (_ checkpointName: String) throws -> Tensor) rethrows -> Tensor {
    let parts = try pieces.map { piece in
      let whole = try tensor(piece.checkpointName)
      guard let slice = piece.slice else { return whole }
      let range = slice.range(of: piece.shape[slice.dimension])
      return whole.narrow(slice.dimension, start: range.lowerBound, length: range.count)
    }
    return parts.count == 1 ? parts[0] : Tensor.cat(parts, dim: 0)
  }
}

extension CausalLM {
  /// Gives every parameter memory on `device` and the checkpoint's values.
  public func load(_ folder: HuggingFaceFolder, dtype: DType, device: Device) throws {
    let loader = try WeightLoader(folder, for: self)
    for parameter in table.parameters {
      if let scaling = parameter.quantization {
        let matrix = try loader.float8(parameter, scaling, on: device).copied(to: device)
        (parameter.tensor, parameter.scales) = (matrix.values, matrix.scales)
        continue
      }
      let tensor = Tensor.empty(parameter.shape, dtype: parameter.isLearned ? dtype : parameter.dtype, device: device)
      try loader.fill(tensor, with: parameter)
      parameter.tensor = tensor
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
