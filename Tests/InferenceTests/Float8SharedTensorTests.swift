import Checkpoints
import Foundation
import Inference
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// Engines with weights in e4m3 that checkpoints keep as parts of other tensors: each is a tensor of its own there.
@Suite struct Float8SharedTensorTests {
  static let cases = ["models/phi3", "models/glm4", "models/qwen3-next", "models/gpt-oss", "vision/qwen3.5-moe"].map { ($0, 1) }
    + ["models/phi3", "models/qwen3-next", "vision/qwen3.5-moe"].map { ($0, 2) }

  private static func engine(_ folder: HuggingFaceFolder, ranks: Int = 1, _ quantization: WeightQuantization? = .fp8) throws -> Engine {
    var options = EngineOptions(dtype: .float32, pageSize: 4, maxTotalTokens: 512)
    (options.tensorParallelSize, options.collectiveTimeout, options.quantization) = (ranks, .seconds(30), quantization)
    return try Engine(folder: folder, tokenizer: nil, options: options)
  }

  /// A model's weights, and how an engine is to have those that it keeps as e4m3, by the names there.
  private struct Weights {
    /// As checkpoints keep them.
    var stored: [NamedTensor] = []
    var float8: [String: Float8Matrix] = [:]
    /// Tensors of which the engine keeps something as e4m3.
    var quantized: Set<String> = []

    init(_ model: CausalLM) throws {
      var assembly = StoredLayout(model).assembly()
      var pieces: [String: Tensor] = [:]
      for parameter in model.table.parameters {
        for (name, tensor) in checkpointTensors(parameter, parameter.tensor) {
          pieces[name] = tensor
          if let whole = assembly.add(name, tensor) { stored.append(NamedTensor(whole.name, whole.tensor)) }
        }
      }
      let configuration = model.configuration.quantized(.fp8)
      for parameter in try configuration.model(parallel: .single(), dtype: .float32).table.parameters {
        guard let scaling = parameter.quantization else { continue }
        for piece in parameter.pieces {
          float8[configuration.storedPart(piece, of: parameter).name] = Float8Matrix(
            quantizing: try #require(pieces[piece.checkpointName]), scaling)
          quantized.insert(configuration.storedPart(piece).name)
        }
      }
    }

    func expect(in engine: Engine, _ what: String) async throws {
      #expect(!float8.isEmpty)
      for (name, matrix) in float8 {
        let values = try await engine.weight(named: name)
        #expect(values?.dtype == .float8e4m3 && values?.bytes == Float8EngineTests.bytes(matrix.values), "\(what): \(name)")
        #expect(try await engine.weight(named: name + "_scale")?.bytes == Float8EngineTests.bytes(matrix.scales), "\(what): \(name)")
      }
    }
  }

  private static func loaded(_ folder: HuggingFaceFolder) throws -> CausalLM {
    let model = try ModelRegistry.configuration(of: folder).model(parallel: .single(), dtype: .float32)
    try catchingTorchErrors { try model.load(folder, dtype: .float32, device: .cpu) }
    return model
  }

  private static func fresh(_ folder: HuggingFaceFolder) throws -> CausalLM {
    let model = try ModelRegistry.configuration(of: folder).model(parallel: .single(), dtype: .float32)
    model.initialize(seed: 11)
    return model
  }

  private static func bytes(_ name: String, _ tensor: Tensor) -> NamedBytes {
    NamedBytes(name, dtype: tensor.dtype, shape: tensor.shape, bytes: Float8EngineTests.bytes(tensor.contiguous()))
  }

  /// A plain folder's weights are quantised when they are loaded, and when they come as an update, as checkpoints keep them.
  @Test(arguments: cases) func plainWeightsAreQuantised(_ name: String, ranks: Int) async throws {
    let folder = try HuggingFaceFolder(fixture(name))
    let engine = try Self.engine(folder, ranks: ranks)
    try await Weights(Self.loaded(folder)).expect(in: engine, "loaded")
    let new = try Weights(Self.fresh(folder))
    try await engine.resetWeights()
    try await engine.beginWeightUpdate()
    for tensor in new.stored { try await engine.updateWeights([Self.bytes(tensor.name, tensor.tensor)]) }
    try await engine.endWeightUpdate(version: "2")
    try await new.expect(in: engine, "updated")
    let output = try await engine.generate(GenerateRequest(id: "a", tokens: [5, 6, 7], sampling: SamplingParameters()))
    #expect(output.weightVersion == "2")
  }

  /// Whole tensors of e4m3 with the scales of their rows are cut into the weights, on every kind of engine.
  @Test(arguments: ["models/phi3", "models/glm4", "models/qwen3-next"]) func quantisedWeightsAreCut(_ name: String) async throws {
    let folder = try HuggingFaceFolder(fixture(name))
    let new = try Weights(Self.fresh(folder))
    let update = new.stored.flatMap { stored -> [NamedBytes] in
      guard new.quantized.contains(stored.name) else { return [Self.bytes(stored.name, stored.tensor)] }
      let matrix = Float8Matrix(quantizing: stored.tensor, .row)
      return [Self.bytes(stored.name + "_scale", matrix.scales), Self.bytes(stored.name, matrix.values)]
    }
    let (engine, plain) = (try Self.engine(folder), try Self.engine(folder, .unquantized))
    for engine in [engine, plain] {
      try await engine.resetWeights()
      try await engine.beginWeightUpdate()
      for tensor in update { try await engine.updateWeights([tensor]) }
      try await engine.endWeightUpdate(version: "2")
    }
    try await new.expect(in: engine, "e4m3")
    for stored in new.stored where new.quantized.contains(stored.name) {
      let numbers = Float8Matrix(quantizing: stored.tensor, .row).dequantized(.float32)
      #expect(try await plain.weight(named: stored.name)?.bytes == Float8EngineTests.bytes(numbers), "\(stored.name)")
    }
    // Half of a tensor is refused.
    let half = try #require(update.first { $0.dtype == .float8e4m3 })
    let error = await #expect(throws: EngineError.self) {
      try await engine.replaceWeights([half], WeightInstallation(version: "3"))
    }
    #expect(try #require(error).description.contains(half.name))
  }

  /// A folder of another model is taken as if the engine had been started with it.
  @Test func foldersAreTaken() async throws {
    let folder = try HuggingFaceFolder(fixture("models/qwen3-next"))
    let area = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: area) }
    let model = try Self.fresh(folder)
    let new = try Weights(model)
    try HuggingFaceFolder.save(to: area, config: folder.config, tensors: new.stored.map { TensorSource($0.name, $0.tensor) })
    let engine = try Self.engine(folder)
    try await engine.replaceWeights(from: area, WeightInstallation(version: "2"))
    try await new.expect(in: engine, "folder")
  }
}
