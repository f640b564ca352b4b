import Checkpoints
import Models
import Torch

/// Where each tensor of a checkpoint lies in a model.
///
/// It is made of a copy of the model without memory, so that weights can be checked and cut while the engine's thread runs
/// the model itself.
struct WeightPlaces {
  struct Place {
    /// Index in the model's table.
    let parameter: Int
    let rows: Range<Int>
    let piece: ParameterPiece
    let dtype: DType
  }

  private let model: CausalLM
  private let dtype: DType
  private let places: [String: Place]

  init(_ configuration: ModelConfiguration, dtype: DType) throws {
    model = try CausalLM(configuration, parallel: .single(), dtype: dtype)
    self.dtype = dtype
    places = Dictionary(
      uniqueKeysWithValues: model.table.parameters.enumerated().flatMap { index, parameter in
        parameter.rows.map {
          let type = parameter.isLearned ? dtype : parameter.dtype
          return ($0.piece.checkpointName, Place(parameter: index, rows: $0.rows, piece: $0.piece, dtype: type))
        }
      })
  }

  var names: Set<String> { Set(places.keys) }

  func place(_ name: String) -> Place? { places[name] ?? (isTiedHead(name) ? places["model.embed_tokens.weight"] : nil) }

  /// A tied head may be sent all the same: it says nothing new.
  private func isTiedHead(_ name: String) -> Bool { model.configuration.tiesEmbeddings && name == "lm_head.weight" }

  /// Copies of a bucket's tensors as the model keeps them, on the CPU.
  /// - Throws: `EngineError` about the first name or shape that is not the model's; nothing was copied then.
  func staged(_ bucket: [NamedTensor]) throws -> [StagedWeight] {
    let bucket = bucket.filter { !isTiedHead($0.name) }
    let found = try bucket.map { new in
      guard let place = places[new.name] else {
        throw EngineError("The weight update holds the tensor '\(new.name)', which the model does not have.")
      }
      guard new.tensor.shape == place.piece.shape else {
        throw EngineError(
          "The weight update holds the tensor '\(new.name)' with shape \(new.tensor.shape), but the model's is \(place.piece.shape).")
      }
      return place
    }
    return try catchingTorchErrors {
      withoutGradients {
        zip(bucket, found).map { new, place in
          var source = new.tensor
          if let slice = place.piece.slice {
            let range = slice.range(of: place.piece.shape[slice.dimension])
            source = source.narrow(slice.dimension, start: range.lowerBound, length: range.count)
          }
          return StagedWeight(
            names: [new.name], parameter: place.parameter, rows: place.rows,
            tensor: source.to(dtype: place.dtype, device: .cpu, copy: true).contiguous())
        }
      }
    }
  }

  /// Copies of all weights of a model folder.
  /// - Throws: `CheckpointError` or `ModelError` where the folder is that of another model.
  func staged(_ folder: HuggingFaceFolder) throws -> [StagedWeight] {
    try ModelRegistry.configuration(of: folder).requireSameWeights(as: model.configuration, folder.url.path)
    let loader = try WeightLoader(folder, for: model)
    return try catchingTorchErrors {
      try model.table.parameters.enumerated().map { index, parameter in
        let tensor = try loader.tensor(parameter)
        return StagedWeight(
          names: parameter.pieces.map(\.checkpointName), parameter: index, rows: 0..<parameter.shape[0],
          tensor: tensor.to(dtype: parameter.isLearned ? dtype : parameter.dtype, copy: true).contiguous())
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

/// A weight that waits to be copied into the model.
struct StagedWeight {
  /// The tensors of the checkpoint that it is made of.
  let names: [String]
  /// Index in the model's table.
  let parameter: Int
  let rows: Range<Int>
  let tensor: Tensor
}
