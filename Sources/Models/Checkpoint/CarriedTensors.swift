import Checkpoints
import Torch

/// What a saved folder has besides the model's weights because the one that it is made like has it: tensors of parts that the
/// model leaves aside (a vision tower, layers that predict tokens further on), byte for byte, and the copies of embedding and
/// head that prediction layers come with, as these are by now.
public struct CarriedTensors {
  private let files: WeightFiles?
  private let left: [String]
  /// By the tensor that they repeat.
  private let copies: [String: [String]]
  /// To be announced with the model's.
  public let specifications: [TensorSpecification]

  /// - Parameters:
  ///   - folder: one without weights that can be read carries nothing.
  ///   - saved: what is written of the model.
  public init(_ folder: HuggingFaceFolder, _ model: ModelConfiguration, saved: [TensorSpecification]) throws {
    let files = try? folder.weights()
    let known = Dictionary(uniqueKeysWithValues: saved.map { ($0.name, $0) })
    func isOfSaved(_ name: String) -> Bool {
      let owner = Float8Scaling.scaleSuffixes.first(where: name.hasSuffix).map { String(name.dropLast($0.count)) }
      return known[name] != nil || owner.map { known[$0] != nil } == true
    }
    let furtherLayers = (model.layerCount..<model.layerCount + model.extraLayerCount).dropFirst(model.predictionLayerCount)
    let left = files?.names.filter { name in
      let isAside = model.ignoredPrefixes.contains(where: name.hasPrefix)
        || CausalLM.layer(of: name).map(furtherLayers.contains) == true
      return isAside && !isOfSaved(name)
    } ?? []
    var copies: [String: [String]] = [:]
    var specifications = try left.map { try files!.description(of: $0).specification }
    let embedding = model.storedName("model.embed_tokens.weight")
    let head = model.tiesEmbeddings ? embedding : model.storedName("lm_head.weight")
    for layer in model.predictionLayers {
      for (leaf, source) in [("embed_tokens.weight", embedding), ("shared_head.head.weight", head)] {
        let name = "model.layers.\(layer).\(leaf)"
        guard files?.contains(name) == true, known[name] == nil, let original = known[source] else { continue }
        copies[source, default: []].append(name)
        specifications.append(TensorSpecification(name: name, dtype: original.dtype, shape: original.shape))
      }
    }
    (self.files, self.left, self.copies, self.specifications) = (files, left, copies, specifications)
  }

  /// Writes a tensor of the model and what repeats it.
  public func write(_ name: String, _ tensor: Tensor, to writer: HuggingFaceWriter) throws {
    for name in [name] + copies[name, default: []] { try writer.write(name, tensor) }
  }

  /// Writes what the model leaves aside.
  public func writeRest(to writer: HuggingFaceWriter) throws {
    for name in left {
      guard let file = try files?.file(holding: name) else { continue }
      try writer.write(name, file.bytes(of: name))
    }
  }
}
