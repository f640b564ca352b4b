import Parallelism
import Torch

/// Code of the user's that builds a model where the families of the registry do not (`--custom-model-provider-path`;
/// Megatron-LM's model provider).
///
/// Training, the rollout engine, plans and exports all build the model through it, every rank its own part.
public protocol ModelProvider: Sendable {
  /// How config.json becomes a configuration; by default as the family that it names reads it.
  func configuration(_ config: ConfigReader) throws -> ModelConfiguration

  /// A model, or one stage of it. Its weights are declared, not loaded.
  func model(_ part: ModelPart) throws -> CausalLM
}

extension ModelProvider {
  public func configuration(_ config: ConfigReader) throws -> ModelConfiguration { try ModelRegistry.configuration(config) }
}

/// What a model provider is asked to build.
public struct ModelPart {
  public let configuration: ModelConfiguration
  /// The rank's groups.
  public let parallel: ParallelContext
  public let stage: ModelStage
  /// Of the weights as they compute.
  public let dtype: DType
  /// Which of the rank's chunks it is; nil: the pipeline has no virtual stages.
  public let vpStage: Int?

  /// Whether it begins with the embedding.
  public var preProcess: Bool { stage.holdsEmbedding }
  /// Whether it ends with the head.
  public var postProcess: Bool { stage.holdsHead }

  /// The usual model with blocks of the provider's own in it.
  public func model(block: @escaping CausalLM.BlockBuilder) throws -> CausalLM {
    try CausalLM(configuration, parallel: parallel, stage: stage, dtype: dtype, block: block)
  }
}

extension ModelConfiguration {
  /// Builds the model that this describes, or one stage of it: the one place where models are made.
  /// - Parameters:
  ///   - stage: nil: all of it.
  ///   - vpStage: see `ModelPart`.
  /// - Throws: `ModelError` when it cannot be divided so.
  public func model(
    parallel: ParallelContext, stage: ModelStage? = nil, dtype: DType, vpStage: Int? = nil
  ) throws -> CausalLM {
    guard let provider else { return try CausalLM(self, parallel: parallel, stage: stage, dtype: dtype) }
    let part = ModelPart(
      configuration: self, parallel: parallel, stage: stage ?? .whole(self), dtype: dtype, vpStage: vpStage)
    let model = try provider.provider.model(part)
    guard model.stage == part.stage, model.table.dtype == dtype else {
      throw ModelError(
        "the model provider '\(provider.name)' was asked for \(part.stage) in \(dtype.name) and built \(model.stage) in "
          + "\(model.table.dtype.name); it must build what it is asked for")
    }
    return model
  }
}

/// The provider that a configuration was read with.
public struct NamedModelProvider: Sendable, Equatable {
  public let name: String
  public let provider: any ModelProvider

  public static func == (left: Self, right: Self) -> Bool { left.name == right.name }
}
