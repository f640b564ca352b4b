import Checkpoints
import Foundation
import Inference
import JSON
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// Engines whose linear weights are e4m3.
@Suite struct Float8EngineTests {
  private static func folder(_ name: String) throws -> HuggingFaceFolder { try HuggingFaceFolder(fixture("float8/\(name)")) }

  private static func options(_ change: (inout EngineOptions) -> Void = { _ in }) -> EngineOptions {
    var options = EngineOptions(dtype: .float32, pageSize: 4, maxTotalTokens: 512, chunkedPrefillSize: 16, randomSeed: 5)
    (options.maxRunningRequests, options.collectiveTimeout) = (8, .seconds(30))
    change(&options)
    return options
  }

  private static func engine(_ name: String, _ change: (inout EngineOptions) -> Void = { _ in }) throws -> Engine {
    try Engine(folder: folder(name), tokenizer: nil, options: options(change))
  }

  /// The log-probabilities of a fixture's tokens, as the prompt of a request.
  private static func logProbs(_ engine: Engine, _ tokens: [Int]) async throws -> [Float] {
    var sampling = SamplingParameters()
    (sampling.temperature, sampling.maxNewTokens) = (0, 1)
    let output = try await engine.generate(
      GenerateRequest(id: UUID().uuidString, tokens: tokens, sampling: sampling, returnLogProbs: true, logProbStart: 0))
    return output.inputLogProbs.compactMap(\.logProb)
  }

  private static func differences(_ found: [Float], _ wanted: [Float]) -> (mean: Float, largest: Float) {
    let all = zip(found, wanted).map { abs($0 - $1) }
    return (all.reduce(0, +) / Float(all.count), all.max()!)
  }

  /// As it is stored, an engine computes what PyTorch does with inputs in e4m3; told not to, with plain numbers.
  @Test(arguments: ["qwen3-block-128", "qwen3-block-16", "qwen3-moe-block-16", "qwen2-tensor"])
  func logProbsAreThoseOfPyTorch(_ name: String) async throws {
    let reference = try SafetensorsFile(Self.folder(name).url.appendingPathComponent("reference.safetensors"))
    let tokens: [Int] = try reference.tensor("tokens").array()
    let (plain, float8): ([Float], [Float]) = (
      try reference.tensor("log_probs").array(), try reference.tensor("float8_log_probs").array()
    )
    for quantization in [nil, .fp8] as [WeightQuantization?] {
      let found = try await Self.logProbs(Self.engine(name) { $0.quantization = quantization }, tokens)
      let (near, far) = (Self.differences(found, float8), Self.differences(found, plain))
      #expect(near.mean < 2e-3 && near.largest < 2e-2 && far.mean > 2e-2, "\(near) \(far)")
    }
    let found = try await Self.logProbs(Self.engine(name) { $0.quantization = .unquantized }, tokens)
    #expect(Self.differences(found, plain).largest < 1e-4)
  }

  /// A plain checkpoint is quantised when it is loaded: linear layers, one scale a row, and nothing else.
  @Test(arguments: ["qwen3-tied", "qwen3-moe", "deepseek-v3", "llama-biases-3-heads"])
  func plainCheckpointsAreQuantised(_ name: String) async throws {
    let folder = try modelFolder(name)
    let weights = try folder.weights()
    let engine = try Engine(folder: folder, tokenizer: nil, options: Self.options { $0.quantization = .fp8 })
    var quantized: [String] = []
    for name in try await engine.weightNames() where !name.hasSuffix("_scale") {
      let found = try #require(try await engine.weight(named: name))
      let old = try weights.tensor(name)
      if let scales = try await engine.weight(named: name + "_scale") {
        quantized.append(name)
        let matrix = Float8Matrix(quantizing: old, .row)
        #expect(found.bytes == Self.bytes(matrix.values) && scales.bytes == Self.bytes(matrix.scales), "\(name)")
        #expect(found.dtype == .float8e4m3 && scales.shape == [old.size(0), 1])
      } else {
        #expect(found.bytes == Self.bytes(old), "\(name)")
      }
    }
    let expected = weights.names.filter { name in
      name.hasSuffix("proj.weight") || name.hasSuffix("kv_a_proj_with_mqa.weight") || name.hasSuffix("_a_proj.weight")
        || name.hasSuffix("_b_proj.weight")
    }
    #expect(Set(quantized) == Set(expected.filter { !$0.hasPrefix("model.layers.3.") || name != "deepseek-v3" }))
    let outputs = try await generateAll(engine, randomRequests(6, seed: 1, vocabulary: try await engine.status().vocabularySize))
    #expect(outputs.allSatisfy { $0.outputLogProbs.allSatisfy { $0.logProb!.isFinite } })
  }

  static func bytes(_ tensor: Tensor) -> Data { tensor.withBytes { Data($0) } }

  struct Ranks: CustomTestStringConvertible {
    var model: String
    var tensor: Int
    var expert = 1
    var testDescription: String { "\(model) tp \(tensor) ep \(expert)" }
  }

  /// Blocks fall on the ranks' parts: what several compute is what one does.
  @Test(arguments: [
    Ranks(model: "qwen3-block-16", tensor: 2), Ranks(model: "qwen3-moe-block-16", tensor: 2),
    Ranks(model: "qwen3-moe-block-16", tensor: 2, expert: 2),
  ])
  func ranksDoNotMatter(_ ranks: Ranks) async throws {
    let reference = try SafetensorsFile(Self.folder(ranks.model).url.appendingPathComponent("reference.safetensors"))
    let tokens: [Int] = try reference.tensor("tokens").array()
    let divided = try Self.engine(ranks.model) { ($0.tensorParallelSize, $0.expertParallelSize) = (ranks.tensor, ranks.expert) }
    let whole = try Self.engine(ranks.model)
    let error = Self.differences(try await Self.logProbs(divided, tokens), try await Self.logProbs(whole, tokens))
    #expect(error.mean < 2e-3 && error.largest < 2e-2, "\(error)")
    for name in try await whole.weightNames() {
      #expect(try await divided.weight(named: name)?.bytes == whole.weight(named: name)?.bytes, "\(name)")
    }
  }

  /// With one scale a token, ranks that split the inputs of a layer have scales of their own: differences are those of rounding
  /// to e4m3.
  @Test func ranksWithScalesOfTokens() async throws {
    let reference = try SafetensorsFile(Self.folder("qwen2-tensor").url.appendingPathComponent("reference.safetensors"))
    let tokens: [Int] = try reference.tensor("tokens").array()
    let plain: [Float] = try reference.tensor("log_probs").array()
    let whole = Self.differences(try await Self.logProbs(Self.engine("qwen2-tensor"), tokens), plain)
    let divided = try Self.engine("qwen2-tensor") { $0.tensorParallelSize = 2 }
    let two = Self.differences(try await Self.logProbs(divided, tokens), plain)
    #expect(two.mean < 1.5 * whole.mean, "\(two) \(whole)")
    for name in try await divided.weightNames() where name.hasSuffix("weight_scale") {
      #expect(try await divided.weight(named: name)?.shape == [1])
    }
  }

  @Test func ranksThatCutBlocksAreRefused() throws {
    let error = #expect(throws: ModelError.self) { try Self.engine("qwen3-block-128") { $0.tensorParallelSize = 2 } }
    #expect(try #require(error).description.contains("blocks of 128"))
  }
}

/// New weights of engines that keep them as e4m3.
@Suite struct Float8UpdateTests {
  private static func engine(_ name: String, ranks: Int = 1, _ quantization: WeightQuantization? = nil) throws -> Engine {
    var options = EngineOptions(dtype: .float32, pageSize: 4, maxTotalTokens: 512)
    (options.tensorParallelSize, options.collectiveTimeout, options.quantization) = (ranks, .seconds(30), quantization)
    return try Engine(folder: HuggingFaceFolder(fixture("float8/\(name)")), tokenizer: nil, options: options)
  }

  /// Plain weights of another model of the same shape, in bf16.
  private static func plainWeights(_ name: String) throws -> [NamedBytes] {
    let folder = try HuggingFaceFolder(fixture("float8/\(name)"))
    let model = try ModelRegistry.configuration(of: folder).model(parallel: .single(), dtype: .float32)
    model.initialize(seed: 9)
    return model.table.parameters.flatMap { parameter in
      checkpointTensors(parameter, parameter.tensor).map { name, tensor in
        NamedBytes(name, dtype: .bfloat16, shape: tensor.shape, bytes: tensor.withBytes(as: .bfloat16) { Data($0) })
      }
    }
  }

  /// The same weights as a checkpoint in e4m3 holds them.
  private static func float8Weights(_ plain: [NamedBytes], _ scheme: Float8Scheme, like names: Set<String>) -> [NamedBytes] {
    plain.flatMap { weight -> [NamedBytes] in
      let scaleName = weight.name + scheme.scaling.scaleSuffix
      guard names.contains(scaleName) else { return [weight] }
      let tensor = Tensor.empty(weight.shape, dtype: .bfloat16)
      tensor.withMutableBytes { _ = weight.bytes.copyBytes(to: $0) }
      let matrix = Float8Matrix(quantizing: tensor, scheme.scaling)
      let scales = matrix.storedScales(scheme.scaling)
      return [
        NamedBytes(scaleName, dtype: .float32, shape: scales.shape, bytes: Float8EngineTests.bytes(scales)),
        NamedBytes(weight.name, dtype: .float8e4m3, shape: weight.shape, bytes: Float8EngineTests.bytes(matrix.values)),
      ]
    }
  }

  private static func send(_ weights: [NamedBytes], to engine: Engine) async throws {
    try await engine.beginWeightUpdate()
    for weight in weights { try await engine.updateWeights([weight]) }
    try await engine.endWeightUpdate(version: "2")
  }

  /// Plain weights are quantised when they come, quantised ones taken as they are: the same bits, on every rank.
  @Test(arguments: [
    ("qwen3-block-16", 1), ("qwen3-block-16", 2), ("qwen3-moe-block-16", 2), ("qwen2-tensor", 2), ("qwen3-block-128", 1),
  ])
  func updatesAreQuantised(_ name: String, ranks: Int) async throws {
    let scheme = try #require(try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("float8/\(name)"))).storedQuantization)
    let engine = try Self.engine(name, ranks: ranks)
    let names = Set(try await engine.weightNames())
    let plain = try Self.plainWeights(name)
    let float8 = Self.float8Weights(plain, scheme, like: names)
    #expect(Set(float8.map(\.name)) == names && float8.count > plain.count)
    for update in [plain, float8.shuffled()] {
      try await engine.resetWeights()
      try await Self.send(update, to: engine)
      for weight in float8 {
        let found = try #require(try await engine.weight(named: weight.name))
        // What is plain is kept in the engine's type.
        if weight.dtype != .bfloat16 {
          #expect(found.bytes == weight.bytes && found.shape == weight.shape && found.dtype == weight.dtype, "\(weight.name)")
        }
      }
    }
    try await engine.replaceWeights(plain, WeightInstallation(version: "3"))
    for weight in float8 where weight.dtype == .float8e4m3 {
      #expect(try await engine.weight(named: weight.name)?.bytes == weight.bytes)
    }
  }

  /// Plain slices are quantised when all of a weight is there, in the model's place or read in the trainer's.
  @Test(arguments: [("qwen3-block-16", 1), ("qwen3-moe-block-16", 2), ("qwen2-tensor", 2)], [WeightStaging.beside, .inPlace, nil])
  func slicesAreQuantised(_ model: (name: String, ranks: Int), staging: WeightStaging?) async throws {
    let name = model.name
    let scheme = try #require(try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("float8/\(name)"))).storedQuantization)
    let engine = try Self.engine(name, ranks: model.ranks)
    let plain = try Self.plainWeights(name)
    // Halves of rows, as two ranks of a trainer have them.
    let halves = plain.flatMap { weight -> [WeightSlice] in
      let tensor = Tensor.empty(weight.shape, dtype: .bfloat16)
      tensor.withMutableBytes { _ = weight.bytes.copyBytes(to: $0) }
      let rows = weight.shape[0]
      return [0..<rows / 2, rows / 2..<rows].map { range in
        var box = TensorBox(whole: weight.shape)
        (box.offsets[0], box.sizes[0]) = (range.lowerBound, range.count)
        return WeightSlice(WeightShard(weight.name, shape: weight.shape, box: box, dtype: .bfloat16), tensor[range].clone())
      }
    }
    try await engine.resetWeights()
    if let staging {
      try await engine.beginWeightUpdate(staging)
      let order = halves.indices.shuffled()
      for start in stride(from: 0, to: order.count, by: 7) {
        let bucket = HandedOver(order[start..<min(start + 7, order.count)].map { halves[$0] })
        try await engine.updateWeights(bucket.value)
      }
      try await engine.endWeightUpdate(version: "2")
    } else {
      let all = HandedOver(halves)
      try await engine.linkWeights(all.value)
      try await engine.copyLinkedWeights(WeightInstallation(version: "2"))
    }
    for weight in Self.float8Weights(plain, scheme, like: Set(try await engine.weightNames())) where weight.dtype != .bfloat16 {
      #expect(try await engine.weight(named: weight.name)?.bytes == weight.bytes, "\(weight.name)")
    }
    #expect(try await engine.status().weightVersion == "2")
  }

  /// Memory that was given back and filled by an update of plain weights serves again.
  @Test func memoryComesBackByAnUpdate() async throws {
    var options = EngineOptions(dtype: .float32, pageSize: 4, maxTotalTokens: 512)
    options.stashesWeights = false
    let engine = try Engine(folder: HuggingFaceFolder(fixture("float8/qwen3-block-16")), tokenizer: nil, options: options)
    try await engine.releaseMemory([.weights])
    try await engine.resumeMemory([.weights])
    try await Self.send(try Self.plainWeights("qwen3-block-16"), to: engine)
    let output = try await engine.generate(GenerateRequest(id: "a", tokens: [5, 6, 7], sampling: SamplingParameters()))
    #expect(output.weightVersion == "2")
  }

  /// An engine with plain weights takes quantised ones as what they stand for.
  @Test func plainEnginesDequantise() async throws {
    let name = "qwen3-block-16"
    let scheme = try #require(try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("float8/\(name)"))).storedQuantization)
    let engine = try Self.engine(name, .unquantized)
    let names = Set(try await Self.engine(name).weightNames())
    let plain = try Self.plainWeights(name)
    try await Self.send(Self.float8Weights(plain, scheme, like: names), to: engine)
    for weight in plain where names.contains(weight.name + "_scale_inv") {
      let tensor = Tensor.empty(weight.shape, dtype: .bfloat16)
      tensor.withMutableBytes { _ = weight.bytes.copyBytes(to: $0) }
      let wanted = Float8Matrix(quantizing: tensor, scheme.scaling).dequantized(.float32)
      #expect(try await engine.weight(named: weight.name)?.bytes == Float8EngineTests.bytes(wanted))
    }
  }

  /// A folder's weights, plain or quantised, are as if the engine had been started with it.
  @Test func foldersAreTaken() async throws {
    let name = "qwen3-block-16"
    let folder = try HuggingFaceFolder(fixture("float8/\(name)"))
    let area = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: area) }
    let plain = area.appendingPathComponent("plain")
    try CheckpointConversion.toHuggingFace(folder, to: plain, quantized: false)
    let (engine, fresh) = (try Self.engine(name), try Self.engine(name))
    for source in [plain, folder.url] {
      try await engine.resetWeights()
      try await engine.replaceWeights(from: source, WeightInstallation(version: "2"))
      for name in try await fresh.weightNames() where source == folder.url || !name.hasSuffix("_inv") {
        let (found, wanted) = (try await engine.weight(named: name), try await fresh.weight(named: name))
        // Numbers in the checkpoint's bf16 need not come back to the same e4m3.
        if source == folder.url || wanted?.dtype != .float8e4m3 { #expect(found?.bytes == wanted?.bytes, "\(name)") }
      }
    }
  }

  @Test func halvesAreRefused() async throws {
    let name = "qwen3-block-16"
    let scheme = try #require(try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("float8/\(name)"))).storedQuantization)
    let engine = try Self.engine(name)
    let names = Set(try await engine.weightNames())
    let weights = Self.float8Weights(try Self.plainWeights(name), scheme, like: names)
    let weight = try #require(weights.first { $0.dtype == .float8e4m3 })
    let scales = try #require(weights.first { $0.name == weight.name + "_scale_inv" })
    let before = try await engine.weight(named: weight.name)
    let wrong = NamedBytes(scales.name, dtype: .float32, shape: [7], bytes: Data(count: 28))
    for (bucket, words) in [([weight], scales.name), ([scales], weight.name), ([weight, wrong], "[7]")] {
      let error = await #expect(throws: EngineError.self) {
        try await engine.replaceWeights(bucket, WeightInstallation(version: "4"))
      }
      #expect(try #require(error).description.contains(words))
    }
    #expect(try await engine.weight(named: weight.name)?.bytes == before?.bytes)
  }
}
