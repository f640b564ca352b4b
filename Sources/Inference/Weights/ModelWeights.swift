import Checkpoints
import Models
import Torch

/// A tensor of a checkpoint as a model keeps it, all ranks together.
struct WeightDescription: Sendable {
  let name: String
  let shape: [Int]
  let dtype: DType
}

/// A weight that waits to be copied into the model: whole, as the checkpoint has it.
struct StagedWeight {
  let name: String
  let tensor: Tensor
  /// Of each row, `[rows, groups]`, where the model keeps the weight as e4m3.
  var scales: Tensor?

  /// It, and its scales.
  var names: [String] { [name] + (scales == nil ? [] : Float8Scaling.scaleSuffixes.map { name + $0 }) }
}

/// The checkpoint tensors that a model is made of.
///
/// It is made of a copy of the model without memory, so that weights can be checked while the engine's ranks run the model
/// itself.
struct ModelWeights {
  private let model: CausalLM
  private let dtype: DType
  /// Where weights are quantised.
  let device: Device
  private let layout: StoredLayout
  /// In the model's order.
  let names: [String]
  private let descriptions: [String: WeightDescription]
  /// How weights are kept that are e4m3.
  let scalings: [String: Float8Scaling]
  /// Tensors of checkpoints that hold several weights which are kept as e4m3, each by itself.
  let shared: [String: SharedTensor]
  /// How the checkpoint has them that the engine was started with.
  var storedScaling: Float8Scaling? { model.configuration.storedQuantization?.scaling }

  init(_ configuration: ModelConfiguration, dtype: DType, device: Device) throws {
    model = try configuration.model(parallel: .single(), dtype: dtype)
    (self.dtype, self.device) = (dtype, device)
    layout = StoredLayout(model)
    let all = layout.tensors.flatMap { entry in
      entry.quantization.map(entry.float8Descriptions) ?? [
        WeightDescription(name: entry.name, shape: entry.shape, dtype: entry.isLearned ? dtype : .float32)
      ]
    }
    scalings = Dictionary(
      uniqueKeysWithValues: layout.tensors.compactMap { entry in entry.quantization.map { (entry.name, $0) } })
    shared = SharedTensor.all(model)
    names = all.map(\.name)
    descriptions = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
  }

  func description(of name: String) -> WeightDescription? {
    descriptions[name] ?? (isTiedHead(name) ? descriptions[model.configuration.storedName("model.embed_tokens.weight")] : nil)
  }

  /// A tied head may be sent all the same: it says nothing new.
  private func isTiedHead(_ name: String) -> Bool {
    model.configuration.tiesEmbeddings && name == model.configuration.storedName("lm_head.weight")
  }

  /// Layers after the last that are not built may be sent, and copies of embedding and head in one that is.
  private func isOfExtraLayer(_ name: String) -> Bool {
    let configuration = model.configuration
    guard descriptions[name] == nil else { return false }
    if configuration.isOfPredictionLayer(name) {
      return name.hasSuffix(".embed_tokens.weight") || name.hasSuffix(".shared_head.head.weight")
    }
    guard let layer = CausalLM.layer(of: name) else {
      return configuration.predictionForm.storedPrefix.map(name.hasPrefix) ?? false
    }
    return (configuration.layerCount..<configuration.layerCount + configuration.extraLayerCount).contains(layer)
  }

  /// Copies of a bucket's tensors as the model keeps them, on the CPU; numbers and scales of e4m3 as they are, for `joined`.
  /// - Throws: `EngineError` about the first name or shape that is not the model's; nothing was copied then.
  func staged(_ bucket: [NamedTensor]) throws -> [StagedWeight] {
    let bucket = bucket.filter { !isTiedHead($0.name) && !isOfExtraLayer($0.name) }
    let found = try bucket.map { new -> WeightDescription in
      if let scales = try scales(new) { return scales }
      if let shared = shared(new) { return WeightDescription(name: new.name, shape: shared.shape, dtype: dtype) }
      guard let description = descriptions[new.name] else {
        throw EngineError("The weight update holds the tensor '\(new.name)', which the model does not have.")
      }
      guard new.tensor.shape == description.shape else {
        throw EngineError(
          "The weight update holds the tensor '\(new.name)' with shape \(new.tensor.shape), but the model's is \(description.shape).")
      }
      return description
    }
    return try catchingTorchErrors {
      withoutGradients {
        let staged = zip(bucket, found).flatMap { new, description in
          quantized(new) ?? [StagedWeight(name: new.name, tensor: new.tensor.copiedToHost(dtype: description.dtype))]
        }
        for device in Set(bucket.map(\.tensor.device) + [device]) { Runtime.synchronize(device) }
        return staged
      }
    }
  }

  /// Copies of all weights of a model folder.
  /// - Throws: `CheckpointError` or `ModelError` where the folder is that of another model.
  func staged(_ folder: HuggingFaceFolder) throws -> [StagedWeight] {
    try ModelRegistry.configuration(of: folder, provider: model.configuration.provider?.name)
      .requireSameWeights(as: model.configuration, folder.url.path)
    // Models may be saved without the layers that predict tokens further on.
    let loader = try WeightLoader(folder, for: model, predictionIsOptional: true)
    return try catchingTorchErrors {
      var assembly = layout.assembly()
      defer { Runtime.synchronize(device) }
      return try model.table.parameters.filter(loader.holds).flatMap { parameter in
        if let scaling = parameter.quantization {
          let whole = try loader.float8(parameter, scaling, on: device)
          return parameter.rows.map { piece, rows in
            StagedWeight(
              name: model.configuration.storedPart(piece, of: parameter).name, tensor: whole.values[rows].copiedToHost(),
              scales: whole.scales[rows].copiedToHost())
          }
        }
        let whole = try loader.tensor(parameter)
          .to(dtype: parameter.isLearned ? dtype : parameter.dtype, copy: true).contiguous()
        return checkpointTensors(parameter, whole).compactMap { assembly.add($0.name, $0.tensor) }
          .map { StagedWeight(name: $0.name, tensor: $0.tensor) }
      }
    }
  }
}

extension ModelConfiguration {
  /// A folder whose tensors have the same shapes may still be of another model.
  fileprivate func requireSameWeights(as serving: ModelConfiguration, _ path: String) throws {
    guard modelType == serving.modelType, layerCount == serving.layerCount, headCount == serving.headCount else {
      throw EngineError(
        "\(path) is a model of type \(modelType) with \(layerCount) layers and \(headCount) heads, but the engine serves one of type \(serving.modelType) with \(serving.layerCount) layers and \(serving.headCount) heads.")
    }
  }
}
