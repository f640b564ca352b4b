import Checkpoints
import Foundation
import Inference
import JSON
import Models
import Parallelism
import Synchronization
import TestSupport
import Testing
import Torch

/// Drafts of heads on top of the model: EAGLE's and layers for tokens further on.
@Suite struct HeadDrafterTests {
  enum Head: String, CaseIterable {
    case eagle = "llama-eagle"
    case eagle3 = "llama-eagle3"
    case deepseek = "deepseek-nextn"
    case glm = "glm-nextn"
    case mimo = "mimo-nextn"

    var model: HuggingFaceFolder { get throws { try HuggingFaceFolder(fixture("drafts/\(rawValue)/model")) } }

    var isOfModel: Bool { self == .deepseek || isMixture || self == .mimo }
    var isMixture: Bool { self == .deepseek || self == .glm }
    /// What weights of the model's own layer are called.
    var layer: String { self == .mimo ? "model.mtp_layers.0." : "model.layers.2." }

    func options(steps: Int, branches: Int, draftTokens: Int) throws -> SpeculativeOptions {
      let algorithm: SpeculativeOptions.Algorithm =
        switch self {
        case .eagle: .eagle(try HuggingFaceFolder(fixture("drafts/\(rawValue)/head")))
        case .eagle3: .eagle3(try HuggingFaceFolder(fixture("drafts/\(rawValue)/head")))
        case .deepseek, .glm, .mimo: .nextN
        }
      return SpeculativeOptions(algorithm, draftTokens: draftTokens, steps: steps, branches: branches)
    }
  }

  static func engine(
    _ head: Head, steps: Int = 3, branches: Int = 3, draftTokens: Int = 8, page: Int = 4, tokens: Int? = 4096,
    running: Int = 16, chunk: Int = 256, ranks: Int = 1, seen: SeenDrafts? = nil
  ) throws -> Engine {
    var options = SpeculativeEngineTests.options(page: page, tokens: tokens, running: running, chunk: chunk)
    options.speculative = try head.options(steps: steps, branches: branches, draftTokens: draftTokens)
    (options.tensorParallelSize, options.collectiveTimeout) = (ranks, .seconds(30))
    if let seen { options.onPlan = { seen.note($0) } }
    return try Engine(folder: head.model, tokenizer: nil, options: options)
  }

  // MARK: Against PyTorch

  /// Drafts that PyTorch makes without a cache, step for step, and the responses to which they lead.
  @Test(arguments: Head.allCases, [1, 2]) func draftsAreThoseOfPyTorch(_ head: Head, ranks: Int) async throws {
    let json = try JSONValue(parsing: String(contentsOf: fixture("drafts/\(head.rawValue)/drafts.json"), encoding: .utf8))
    func ints(_ value: JSONValue) -> [Int] { value.array!.map { $0.int! } }
    var correct = 0
    // All prompts at once, and one by one in chunks, where no batch is too small for all drafts.
    for (manner, (page, chunk)) in zip(json.array!, [(4, 256), (1, 16), (3, 16)]) {
      let seen = SeenDrafts()
      let engine = try Self.engine(
        head, steps: manner["steps"]!.int!, branches: manner["topk"]!.int!, draftTokens: manner["tokens"]!.int!, page: page,
        chunk: chunk, ranks: ranks, seen: seen)
      let runs = manner["runs"]!.array!
      let requests = runs.enumerated().map { i, run in
        var request = GenerateRequest(id: "\(i)", tokens: ints(run["prompt"]!))
        (request.sampling.temperature, request.sampling.ignoreEOS) = (0, true)
        request.sampling.maxNewTokens = ints(run["response"]!).count
        return request
      }
      // The second time, prompts are cached.
      for round in 0..<2 {
        var outputs: [GenerateOutput] = []
        if chunk == 16 {
          for request in requests { outputs.append(try await engine.generate(request)) }
        } else {
          outputs = try await generateAll(engine, requests)
        }
        for (i, output) in outputs.enumerated() {
          #expect(output.outputTokens == ints(runs[i]["response"]!))
          #expect(round == 0 || output.cachedTokens == (requests[i].tokens.count - 1) / page * page)
          #expect(round == 1 || chunk == 256 || i < 4 || output.cachedTokens == 24)
          let wanted = runs[i]["steps"]!.array!.map { step in
            var tree = DraftTree()
            for (token, parent) in zip(ints(step["tokens"]!), ints(step["parents"]!)) { tree.add(token, after: parent) }
            return tree
          }
          #expect(seen.taken(of: "\(i)") == wanted, "\(head) \(manner["topk"]!), prompt \(i), round \(round)")
        }
      }
      try await expectIdle(engine)
      correct += try #require(try await engine.status().speculation).correctDrafts
    }
    #expect(correct > 40, "too few drafts are right to say much")
  }

  // MARK: Against plain decoding

  @Test(arguments: Head.allCases) func responsesAreThoseOfPlainDecoding(_ head: Head) async throws {
    let plain = try Engine(folder: head.model, tokenizer: nil)
    let vocabulary = try await plain.status().vocabularySize
    for seed in 0..<3 as Range<UInt64> {
      let requests = SpeculativeEngineTests.requests(
        30, seed: 50 + seed, vocabulary: vocabulary, routed: head.isMixture)
      let wanted = try await generateAll(plain, requests)
      for (steps, branches, draftTokens, page, running, chunk) in [
        (3, 1, 4, 4, 16, 256), (3, 3, 8, 1, 30, 300), (2, 4, 16, 3, 5, 30), (5, 2, 9, 16, 16, 40), (1, 8, 9, 2, 16, 256),
      ] {
        let engine = try Self.engine(
          head, steps: steps, branches: branches, draftTokens: draftTokens, page: page, running: running, chunk: chunk)
        for round in 0..<2 {
          SpeculativeEngineTests.expectSame(
            try await generateAll(engine, requests), wanted, "\(head) topk \(branches), seed \(seed), round \(round)")
          try await expectIdle(engine)
        }
        let counts = try #require(try await engine.status().speculation)
        #expect(counts.correctDrafts > 5 && counts.verifications > 40, "\(counts)")
      }
    }
  }

  /// Sampled tokens are drafted with their noise: a head that agrees with its model is right at any temperature.
  @Test func temperatureDoesNotMatterToAgreement() async throws {
    func rate(_ temperature: Double) async throws -> Double {
      let engine = try Self.engine(.deepseek, branches: 1, draftTokens: 4)
      let requests = SpeculativeEngineTests.requests(40, seed: 61, vocabulary: 61).map { request in
        var plain = GenerateRequest(id: request.id, tokens: request.tokens)
        (plain.sampling.temperature, plain.sampling.samplingSeed) = (temperature, request.sampling.samplingSeed)
        (plain.sampling.ignoreEOS, plain.sampling.maxNewTokens) = (true, 30)
        return plain
      }
      _ = try await generateAll(engine, requests)
      return try #require(try await engine.status().speculation).acceptRate
    }
    let (greedy, sampled) = (try await rate(0), try await rate(1))
    // Draws that know nothing of each other agree far less often.
    #expect(greedy > 0.3 && sampled > 0.6 * greedy, "\(greedy), \(sampled)")
  }

  @Test(arguments: Head.allCases) func retractionsDoNotMatter(_ head: Head) async throws {
    let plain = try Engine(folder: head.model, tokenizer: nil)
    var requests = SpeculativeEngineTests.requests(24, seed: 52, vocabulary: try await plain.status().vocabularySize)
    for i in requests.indices {
      (requests[i].sampling.maxNewTokens, requests[i].sampling.minNewTokens, requests[i].sampling.ignoreEOS) = (50, 45, false)
    }
    let wanted = try await generateAll(plain, requests)
    for (page, tokens) in [(1, 90), (4, 120)] {
      let engine = try Self.engine(head, page: page, tokens: tokens)
      let outputs = try await generateAll(engine, requests)
      #expect(outputs.contains { $0.retractions > 0 })
      SpeculativeEngineTests.expectSame(outputs, wanted, "\(head), page \(page)")
      try await expectIdle(engine)
    }
  }

  /// Samples of one prompt, while they are aborted, paused and their cache and memory are taken.
  @Test(arguments: Head.allCases, [1, 2]) func disturbancesDoNotMatter(_ head: Head, ranks: Int) async throws {
    let requests = (0..<24).map { i in
      var request = GenerateRequest(id: "r\(i)", tokens: Array(3..<40))
      (request.sampling.maxNewTokens, request.sampling.ignoreEOS, request.sampling.samplingSeed) = (60, true, i)
      return request
    }
    let wanted = try await generateAll(Engine(folder: head.model, tokenizer: nil), requests)
    let engine = try Self.engine(head, tokens: 700, ranks: ranks)
    try await expectUndisturbed(engine, requests, wanted)
    try await expectIdle(engine)
    #expect(try await engine.status().speculation?.correctDrafts ?? 0 > 20)
  }

  // MARK: Weights

  /// The model's own layer, and what other heads share with it, are updated with the model: then they draft as in an engine
  /// that was started with the new weights.
  @Test(arguments: Head.allCases) func updatesReachTheHead(_ head: Head) async throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: url) }
    let names = try Self.writeFlipped(head.model, to: url)
    let (before, after) = (SeenDrafts(), SeenDrafts())
    let updated = try Self.engine(head, seen: before)
    var options = SpeculativeEngineTests.options(tokens: 4096)
    options.speculative = try head.options(steps: 3, branches: 3, draftTokens: 8)
    options.onPlan = { after.note($0) }
    let started = try Engine(folder: HuggingFaceFolder(url), tokenizer: nil, options: options)
    let own = try await updated.weightNames().filter { $0.hasPrefix(head.layer) }
    if head.isOfModel { #expect(own.contains(head.layer + (head == .mimo ? "input_proj.weight" : "eh_proj.weight"))) }
    if head.isMixture { #expect(own.contains("model.layers.2.mlp.experts.3.up_proj.weight")) }
    #expect(Set(own).isSubset(of: names) && !own.contains { $0.contains("shared_head.head") || $0.contains("embed_tokens") })
    try await updated.replaceWeights(from: url, WeightInstallation(version: "2"))
    for name in own {
      #expect(try await updated.weight(named: name)?.bytes == started.weight(named: name)?.bytes, "\(name)")
    }
    let requests = SpeculativeEngineTests.requests(10, seed: 35, vocabulary: 61)
    let (found, wanted) = (try await generateAll(updated, requests), try await generateAll(started, requests))
    SpeculativeEngineTests.expectSame(found, wanted, "\(head)")
    var count = 0
    for request in requests {
      let drafts = after.taken(of: request.id)
      #expect(before.taken(of: request.id) == drafts)
      count += drafts.count
    }
    #expect(count > 20)
  }

  /// A trainer without the layer sends the rest; copies of embedding and head that a checkpoint has in it say nothing new.
  @Test(arguments: [Head.deepseek, .mimo]) func updatesMayLeaveTheLayerOut(_ head: Head) async throws {
    let engine = try Self.engine(head)
    let files = try head.model.weights()
    func tensors(_ isWanted: (String) -> Bool) throws -> [NamedBytes] {
      try files.names.filter(isWanted).map { name in
        let tensor = try files.tensor(name)
        return NamedBytes(name, dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.withBytes { Data($0) })
      }
    }
    for isWanted in [{ !$0.hasPrefix(head.layer) }, { _ in true }] as [(String) -> Bool] {
      try await engine.replaceWeights(try tensors(isWanted), WeightInstallation(version: "3"))
    }
    // An engine without the layer takes them all too.
    let plain = try Engine(folder: head.model, tokenizer: nil)
    try await plain.replaceWeights(try tensors { _ in true }, WeightInstallation(version: "3"))
    let requests = SpeculativeEngineTests.requests(10, seed: 36, vocabulary: 61)
    SpeculativeEngineTests.expectSame(
      try await generateAll(engine, requests), try await generateAll(plain, requests), "all weights")
  }

  /// Memory that is given back without a copy is filled by an update; the layer that it leaves out was kept.
  @Test func theLayerOutlivesReleasedWeights() async throws {
    var options = SpeculativeEngineTests.options(tokens: 4096)
    options.speculative = try Head.deepseek.options(steps: 3, branches: 1, draftTokens: 4)
    options.stashesWeights = false
    let engine = try Engine(folder: Head.deepseek.model, tokenizer: nil, options: options)
    let requests = SpeculativeEngineTests.requests(10, seed: 37, vocabulary: 61)
    let wanted = try await generateAll(engine, requests)
    let counts = try await engine.status().speculation
    try await engine.releaseMemory([.weights, .keyValueCache])
    try await engine.resumeMemory([.weights, .keyValueCache])
    let files = try Head.deepseek.model.weights()
    let rest = try files.names.filter { !$0.hasPrefix("model.layers.2.") }.map { name in
      let tensor = try files.tensor(name)
      return NamedBytes(name, dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.withBytes { Data($0) })
    }
    try await engine.replaceWeights(rest, WeightInstallation(version: "2"))
    let outputs = try await generateAll(engine, requests)
    #expect(outputs.map(\.outputTokens) == wanted.map(\.outputTokens))
    let after = try await engine.status().speculation
    #expect(after?.correctDrafts == 2 * (counts?.correctDrafts ?? 0), "the layer drafts otherwise than before")
  }

  /// The same folder with all its tensors turned round along the first dimension; the tensors' names.
  private static func writeFlipped(_ folder: HuggingFaceFolder, to url: URL) throws -> Set<String> {
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    try FileManager.default.copyItem(at: folder.configFile, to: url.appendingPathComponent("config.json"))
    let files = try folder.weights()
    try SafetensorsWriter.write(
      to: url.appendingPathComponent(WeightFiles.singleFile),
      tensors: files.names.map { TensorSource($0, try files.tensor($0).flip([0]).contiguous()) })
    return Set(files.names)
  }

  // MARK: Refusals

  @Test func whatCannotDraftIsRefused() throws {
    func refused(_ model: String, _ speculative: SpeculativeOptions) throws -> String {
      var options = EngineOptions(maxTotalTokens: 256)
      options.speculative = speculative
      do {
        _ = try Engine(folder: modelFolder(model), tokenizer: nil, options: options)
        return ""
      } catch { return "\(error)" }
    }
    #expect(try refused("qwen3-tied", SpeculativeOptions(.nextN)).contains("num_nextn_predict_layers"))
    let head = try Head.eagle.options(steps: 3, branches: 1, draftTokens: 4)
    #expect(try refused("qwen3-tied", head).contains("vocab_size 128, and the model 32 and 97"))
    #expect(try refused("llama3-gqa", SpeculativeOptions(.eagle(modelFolder("qwen2")))).contains("no draft head of EAGLE"))
    #expect(try refused("llama2", SpeculativeOptions(.eagle3(modelFolder("llama2")))).contains("no draft head of EAGLE3"))
    guard case .eagle(let folder) = head.algorithm else { return }
    #expect(try refused("llama3-gqa", SpeculativeOptions(.eagle3(folder))).contains("no draft head of EAGLE3"))
    let third = try HuggingFaceFolder(fixture("drafts/llama-eagle3/head"))
    // It reads the input of layer 4.
    #expect(try refused("llama3-gqa", SpeculativeOptions(.eagle3(third))).contains("layers 0 to 1"))
    for (speculative, part) in [
      (SpeculativeOptions(.ngram(NGramOptions()), branches: 2), "is of draft heads"),
      (SpeculativeOptions(.nextN, branches: 2), "--speculative-num-steps"),
      (SpeculativeOptions(.nextN, draftTokens: 8, steps: 2, branches: 2), "which is 7"),
      (SpeculativeOptions(.nextN, branches: 0), "at least 1"),
    ] {
      #expect(try refused("deepseek-v3", speculative).contains(part))
    }
  }
}

/// The drafts that an engine ran, by request.
final class SeenDrafts: Sendable {
  private let drafts = Mutex<[String: [DraftTree]]>([:])

  func note(_ plan: BatchPlan) {
    drafts.withLock { drafts in
      for item in plan.items where item.draftCount > 0 { drafts[item.id, default: []].append(item.drafts) }
    }
  }

  /// Those of a request, which are forgotten.
  func taken(of id: String) -> [DraftTree] { drafts.withLock { $0.removeValue(forKey: id) ?? [] } }
}
