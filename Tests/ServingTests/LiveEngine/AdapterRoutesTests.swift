import Checkpoints
import Foundation
import Inference
import JSON
import Serving
import TestSupport
import Testing
import Tokenization
import Torch
import WeightSync

/// Adapters over HTTP, on a real engine.
@Suite struct AdapterRoutesTests {
  /// An adapter of the tiny model's queries and down projections with random factors.
  static func writeAdapter(to folder: URL, seed: UInt64) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let config: JSONValue = ["peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"], "bias": "none"]
    try config.data(.indented(2)).write(to: folder.appendingPathComponent("adapter_config.json"))
    let generator = Generator(seed: seed)
    var tensors: [TensorSource] = []
    for layer in 0..<2 {
      for (module, inputs, outputs) in [("self_attn.q_proj", 32, 32), ("mlp.down_proj", 48, 32)] {
        let path = "base_model.model.model.layers.\(layer).\(module)"
        tensors.append(TensorSource(path + ".lora_A.weight", Tensor.randn([2, inputs], generator: generator)))
        tensors.append(TensorSource(path + ".lora_B.weight", Tensor.randn([outputs, 2], generator: generator)))
      }
    }
    try SafetensorsWriter.write(to: folder.appendingPathComponent("adapter_model.safetensors"), tensors: tensors)
  }

  /// Runs `body` with a server of the tiny model that takes adapters, and the folders of two.
  static func withServer(engines: Int = 1, _ body: @escaping @Sendable (Client, String, String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    let (model, one, two) = (
      folder.appendingPathComponent("model"), folder.appendingPathComponent("one"), folder.appendingPathComponent("two")
    )
    try writeTinyModel(to: model, contextLength: 2048)
    try writeAdapter(to: one, seed: 1)
    try writeAdapter(to: two, seed: 2)
    let tokenizer = try Tokenizer(folder: model)
    let members = try await onThread {
      try (0..<engines).map { _ in
        var options = EngineOptions(pageSize: 4, maxTotalTokens: 8192)
        options.adapters = AdapterOptions()
        return try Engine(folder: HuggingFaceFolder(model), tokenizer: tokenizer, options: options)
      }
    }
    let engine: DataParallelEngine.Member = engines == 1 ? members[0] : DataParallelEngine(members, randomSeed: 0)
    let configuration = ServerConfiguration(port: 0, servedModelName: "tiny")
    let server = Server(engine: engine, tokenizer: try ModelPromptEncoder(tokenizer), configuration: configuration)
    try await server.whileRunning { try await body(Client(port: $0), one.path, two.path) }
  }

  private static let greedy: JSONValue = ["temperature": 0, "max_new_tokens": 12, "ignore_eos": true]

  private static func ids(_ answer: JSONValue?) -> [Int]? { answer?["output_ids"]?.array?.compactMap(\.int) }

  @Test(arguments: [1, 2]) func adaptersComeAndGo(engines: Int) async throws {
    try await Self.withServer(engines: engines) { client, one, two in
      func load(_ name: String, _ path: String) async throws -> Answer {
        try await client.post("/load_lora_adapter", ["lora_name": .string(name), "lora_path": .string(path)])
      }
      func generate(_ adapter: JSONValue) async throws -> Answer {
        try await client.generate(["text": "abc", "lora_path": adapter, "sampling_params": Self.greedy])
      }
      let plain = try #require(Self.ids(try await generate(nil).json))
      let missing = try await generate("one")
      #expect(missing.status == 400 && missing.message.contains("There is no adapter one; loaded are none"))

      let loaded = try await load("one", one)
      #expect(loaded.status == 200)
      #expect(loaded.json == ["success": true, "error_message": "", "loaded_adapters": ["one": .string(one)]])
      #expect(try await load("two", two).json["loaded_adapters"]?.object?.keys == ["one", "two"])
      let again = try await load("one", two)
      #expect(again.status == 400 && again.json["success"] == false)
      #expect(again.json["error_message"]?.string?.contains("is loaded already") == true)
      #expect(again.json["loaded_adapters"]?["one"]?.string == one)

      let (first, second) = (Self.ids(try await generate("one").json), Self.ids(try await generate("two").json))
      #expect(first != plain && second != plain && first != second && first?.count == 12)
      // Each prompt of a batch its own, or all the same.
      let batch = try await client.generate([
        "text": ["abc", "abc", "abc"], "lora_path": ["one", nil, "two"], "sampling_params": Self.greedy,
      ])
      #expect(batch.json.array?.map(Self.ids) == [first, plain, second])
      let same = try await client.generate(["text": ["abc", "abc"], "lora_path": "two", "sampling_params": Self.greedy])
      #expect(same.json.array?.map(Self.ids) == [second, second])
      let short = try await client.generate(["text": ["abc", "abc"], "lora_path": ["one"]])
      #expect(short.status == 400 && short.message.contains("lora_path has 1 elements for 2 prompts"))
      let stream = try await client.generate(["text": "abc", "lora_path": "one", "stream": true, "sampling_params": Self.greedy])
      #expect(Self.ids(stream.events.last) == first)

      let models = try await client.get("/v1/models").json["data"]?.array
      #expect(models?.map { $0["id"] } == ["tiny", "one", "two"] && models?.map { $0["parent"] } == [.null, "tiny", "tiny"])
      #expect(try await client.get("/v1/models/one").json["root"]?.string == one)

      let unloaded = try await client.post("/unload_lora_adapter", ["lora_name": "one"])
      #expect(unloaded.status == 200 && unloaded.json["loaded_adapters"] == ["two": .string(two)])
      #expect(try await client.post("/unload_lora_adapter", ["lora_name": "one"]).status == 400)
      #expect(try await generate("one").status == 400)
      #expect(Self.ids(try await generate("two").json) == second)
    }
  }

  /// Tensors that are sent are those of the folder.
  @Test(arguments: [1, 2]) func adaptersMayBeSent(engines: Int) async throws {
    try await Self.withServer(engines: engines) { client, one, _ in
      let folder = URL(fileURLWithPath: one)
      let file = try SafetensorsFile(folder.appendingPathComponent("adapter_model.safetensors"))
      let pickle = try PickledTensors.pickle(file.tensors.map { ($0.name, try file.tensor($0.name)) })
      let config = try JSONValue(parsing: String(contentsOf: folder.appendingPathComponent("adapter_config.json"), encoding: .utf8))
      func send(_ name: String, _ config: JSONValue) async throws -> Answer {
        try await client.post(
          "/load_lora_adapter_from_tensors",
          ["lora_name": .string(name), "config_dict": config, "serialized_named_tensors": [.string(pickle.base64EncodedString())]])
      }
      let sent = try await send("sent", config)
      #expect(sent.status == 200 && sent.json["loaded_adapters"] == ["sent": nil])
      _ = try await client.post("/load_lora_adapter", ["lora_name": "read", "lora_path": .string(one)])
      var ids: [[Int]?] = []
      for name in ["sent", "read"] {
        ids.append(
          Self.ids(
            try await client.generate(["text": "abc", "lora_path": .string(name), "sampling_params": Self.greedy]).json))
      }
      #expect(ids[0] == ids[1] && ids[0]?.count == 12)
      let refused = try await send("other", ["peft_type": "LORA", "lora_alpha": 4, "use_dora": true])
      #expect(refused.status == 400 && refused.json["error_message"]?.string?.contains("use_dora") == true)
      #expect(refused.json["loaded_adapters"]?.object?.keys == ["sent", "read"])
    }
  }

  @Test func openAIRoutesNameAdaptersInTwoWays() async throws {
    try await Self.withServer { client, one, _ in
      _ = try await client.post("/load_lora_adapter", ["lora_name": "one", "lora_path": .string(one)])
      func text(_ fields: JSONObject, chat: Bool = false) async throws -> JSONValue? {
        var body = fields
        (body["temperature"], body["max_tokens"], body["ignore_eos"]) = (0, 12, true)
        if chat { body["messages"] = [["role": "user", "content": "abc"]] } else { body["prompt"] = "abc" }
        let answer = try await client.post(chat ? "/v1/chat/completions" : "/v1/completions", .object(body))
        #expect(answer.status == 200, "\(answer.body)")
        let choice = answer.json["choices"]?.array?.first
        return chat ? choice?["message"]?["content"] : choice?["text"]
      }
      for chat in [false, true] {
        let plain = try await text(["model": "tiny"], chat: chat)
        let adapted = try await text(["model": "tiny:one"], chat: chat)
        #expect(plain != nil && adapted != nil && plain != adapted)
        for fields in [["lora_path": "one"], ["model": "one"], ["model": "default:one"], ["model": "tiny", "lora_path": "one"]] as [JSONObject] {
          #expect(try await text(fields, chat: chat) == adapted, "\(fields)")
        }
        #expect(try await text(["model": "default"], chat: chat) == plain)
      }
      let unknown = try await client.post("/v1/completions", ["model": "tiny:two", "prompt": "abc"])
      #expect(unknown.status == 400 && unknown.message.contains("There is no adapter two; loaded are one"))
      let both = try await client.post("/v1/completions", ["model": "tiny:one", "lora_path": "two", "prompt": "abc"])
      #expect(both.status == 400 && both.message.contains("give one of them"))
    }
  }

  @Test func enginesWithoutAdaptersSaySo() async throws {
    try await withTinyServer { client, _ in
      let load = try await client.post("/load_lora_adapter", ["lora_name": "one", "lora_path": "/nowhere"])
      #expect(load.status == 400 && load.json["error_message"]?.string?.contains("--enable-lora") == true)
      let request = try await client.generate(["text": "a", "lora_path": "one"])
      #expect(request.status == 400 && request.message.contains("--enable-lora"))
    }
    try await withClient { client in
      let load = try await client.post("/load_lora_adapter", ["lora_name": "one", "lora_path": "/nowhere"])
      #expect(load.json["error_message"]?.string?.contains("takes no adapters") == true)
    }
  }
}
