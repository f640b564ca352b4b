import Checkpoints
import Foundation
import Inference
import JSON
import TestSupport
import Testing
import Torch

/// What an engine refuses to load, and says.
@Suite struct AdapterLoadingTests {
  /// A copy of a fixture's adapter with another configuration and other tensors.
  private func message(
    _ config: [String: JSONValue?] = [:], options: AdapterOptions = AdapterOptions(),
    tensors change: (inout [String: Tensor]) -> Void = { _ in }
  ) async throws -> String {
    let source = fixture("lora/llama3-gqa-all")
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    var object = try #require(
      try JSONValue(parsing: String(contentsOf: source.appendingPathComponent("adapter_config.json"), encoding: .utf8)).object)
    for (key, value) in config { object[key] = value }
    try JSONValue.object(object).data(.indented(2)).write(to: folder.appendingPathComponent("adapter_config.json"))
    let file = try SafetensorsFile(source.appendingPathComponent("adapter_model.safetensors"))
    var tensors: [String: Tensor] = [:]
    for tensor in file.tensors { tensors[tensor.name] = try file.tensor(tensor.name) }
    change(&tensors)
    try SafetensorsWriter.write(
      to: folder.appendingPathComponent("adapter_model.safetensors"),
      tensors: tensors.sorted { $0.key < $1.key }.map { TensorSource($0.key, $0.value) })
    let engine = try await adapterEngine("llama3-gqa", []) { $0.adapters = options }
    do {
      try await engine.loadAdapter("mine", from: folder)
    } catch {
      #expect(try await engine.status().adapters == [])
      return "\(error)"
    }
    #expect(try await engine.status().adapters?.map(\.name) == ["mine"])
    return ""
  }

  private static let layer = "base_model.model.model.layers.0"

  @Test func soundAdaptersAreTaken() async throws {
    #expect(try await message() == "")
    #expect(try await message(["modules_to_save": [], "use_dora": nil, "bias": "none"]) == "")
    #expect(try await message(options: AdapterOptions(maxRank: 4)) == "")
    let half: (inout [String: Tensor]) -> Void = { tensors in
      for (name, tensor) in tensors { tensors[name] = tensor.to(dtype: .bfloat16) }
    }
    #expect(try await message(tensors: half) == "")
  }

  private static let demanding: [(key: String, value: JSONValue)] = [
    ("peft_type", "PREFIX_TUNING"), ("use_dora", true), ("bias", "all"), ("lora_bias", true),
    ("modules_to_save", ["lm_head"]), ("fan_in_fan_out", true), ("alpha_pattern", ["q_proj": 3]),
    ("layer_replication", [[0, 1]]), ("init_lora_weights", "pissa_niter_16"), ("lora_alpha", "eight"),
  ]

  @Test(arguments: demanding)
  func configurationsThatAskForMoreAreRefused(_ key: String, _ value: JSONValue) async throws {
    let found = try await message([key: value])
    #expect(found.contains("The adapter mine has") && found.contains(key), "\(found)")
  }

  @Test func tensorsThatDoNotFitAreRefused() async throws {
    let a = Self.layer + ".self_attn.q_proj.lora_A.weight"
    func expect(_ part: String, _ change: @escaping (inout [String: Tensor]) -> Void) async throws {
      let found = try await message(tensors: change)
      #expect(found.contains("The adapter mine") && found.contains(part), "\(found)")
    }
    try await expect("only one of lora_A and lora_B") { $0[a] = nil }
    try await expect("not finite") { $0[a] = $0[a]! / 0 }
    for shape in [[4, 31], [3, 32], [0, 32], [4], []] {
      try await expect("use the model that it was trained on") { $0[a] = .zeros(shape) }
    }
    try await expect("no linear layer of this model that takes adapters") { $0["base_model.model.lm_head.lora_A.weight"] = .zeros([4, 32]) }
    try await expect("no linear layer of this model that takes adapters") {
      $0["base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"] = .zeros([4, 32])
    }
    try await expect("no LoRA factor of a linear layer") { $0["base_model.model.model.embed_tokens.weight"] = .zeros([128, 32]) }
    try await expect("no LoRA factor of a linear layer") { $0[Self.layer + ".self_attn.q_proj.lora_magnitude_vector"] = .zeros([32]) }
    try await expect("has no tensors") { $0 = [:] }
    #expect(try await message(options: AdapterOptions(maxRank: 3)).contains("above --max-lora-rank 3"))
    #expect(
      try await message(options: AdapterOptions(targets: ["q_proj", "k_proj"])).contains("--lora-target-modules does not name"))
  }

  @Test func namesAndFoldersAreChecked() async throws {
    let engine = try await adapterEngine("llama3-gqa", ["llama3-gqa-all"])
    func message(_ name: String, _ folder: URL) async -> String {
      do { try await engine.loadAdapter(name, from: folder) } catch { return "\(error)" }
      return ""
    }
    let sound = fixture("lora/llama3-gqa-all")
    #expect(await message("llama3-gqa-all", sound).contains("is loaded already"))
    #expect(await message("", sound).contains("must not be empty"))
    #expect(await message("a:b", sound).contains("have a colon"))
    #expect(await message("a", fixture("nowhere")).contains("no readable adapter_config.json"))
    #expect(await message("a", fixture("lora/deepseek-v3-latent")).contains("no linear layer of this model"))
    let none = try Engine(folder: modelFolder("llama3-gqa"), tokenizer: nil)
    let error = await #expect(throws: InvalidRequest.self) { try await none.loadAdapter("a", from: sound) }
    #expect(error?.description.contains("--enable-lora") == true)
    var request = try AdapterFixture("llama3-gqa-all").requests()[0]
    await #expect(throws: InvalidRequest.self) { try await none.generate(request) }
    request.adapter = "unknown"
    let unknown = await #expect(throws: InvalidRequest.self) { try await engine.generate(request) }
    #expect(unknown?.description.contains("loaded are llama3-gqa-all") == true)
    #expect(throws: EngineError.self) {
      var options = EngineOptions(maxTotalTokens: 64)
      options.adapters = AdapterOptions(targets: ["q_proj", "c_attn"])
      _ = try Engine(folder: modelFolder("llama3-gqa"), tokenizer: nil, options: options)
    }
    let deterministic = #expect(throws: EngineError.self) {
      var options = EngineOptions(maxTotalTokens: 64)
      (options.adapters, options.isDeterministic) = (AdapterOptions(), true)
      _ = try Engine(folder: modelFolder("llama3-gqa"), tokenizer: nil, options: options)
    }
    #expect(deterministic?.description.contains("leave --enable-lora") == true)
  }
}
