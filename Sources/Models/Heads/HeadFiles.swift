import Checkpoints
import Torch

/// The tensors of a draft head's folder, whose names may begin with `model.` or not.
struct HeadFiles {
  private let files: WeightFiles

  init(_ files: WeightFiles) { self.files = files }

  func contains(_ name: String) -> Bool { files.contains(name) || files.contains("model." + name) }

  private func stored(_ name: String) -> String { files.contains(name) ? name : "model." + name }

  func tensor(_ name: String) throws -> Tensor { try files.tensor(stored(name)) }

  /// Gives all parameters memory on `device` and their values, once names in both directions and shapes are as they should.
  /// - Throws: `CheckpointError` or `ModelError` naming file, tensor, expected and found.
  func load(_ table: ParameterTable, dtype: DType, device: Device, leavingAside others: [String], _ path: String) throws {
    let pieces = table.parameters.flatMap(\.pieces)
    for piece in pieces { try files.check(stored(piece.checkpointName), shape: piece.shape) }
    let known = Set(pieces.map { stored($0.checkpointName) } + others.map(stored))
    if let extra = files.names.first(where: { !known.contains($0) && !$0.hasSuffix("rotary_emb.inv_freq") }) {
      throw ModelError("\(path) holds tensor '\(extra)', which this kind of draft head does not have")
    }
    for parameter in table.parameters {
      parameter.tensor = try withoutGradients { try parameter.part(of: tensor) }
        .to(dtype: dtype, device: device, copy: true).contiguous()
    }
  }
}

extension ModelConfiguration {
  /// - Throws: `ModelError`: a draft head of these shapes does not fit on the model.
  func requireShapes(of model: ModelConfiguration, _ path: String) throws {
    guard hiddenSize == model.hiddenSize, vocabularySize == model.vocabularySize else {
      throw ModelError(
        "the draft head in \(path) has hidden_size \(hiddenSize) and vocab_size \(vocabularySize), and the model "
          + "\(model.hiddenSize) and \(model.vocabularySize); choose the model's own head")
    }
    guard !model.scalesEmbeddings, model.positions == .rotary else {
      throw ModelError(
        "the draft head in \(path) reads embeddings as they are stored, which a model of type \(model.modelType) changes before "
          + "its first layer; draft by n-grams or another model")
    }
  }
}
