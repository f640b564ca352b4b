import JSON
import Models
import Parallelism
import Synchronization
import TestSupport
import Testing
import Torch

/// Providers that are registered in code.
struct ModelProviderTests {
  private final class Recorder: ModelProvider {
    let asked = Mutex<[String]>([])

    func configuration(_ config: ConfigReader) throws -> ModelConfiguration {
      // A type that no family answers to, and a key of its own.
      var configuration = try ModelConfiguration(common: config, modelType: "recorded")
      configuration.layerCount = try config.count("depth")
      return configuration
    }

    func model(_ part: ModelPart) throws -> CausalLM {
      asked.withLock { $0.append("\(part.preProcess) \(part.postProcess) \(part.vpStage.map(String.init) ?? "nil")") }
      return try part.model { DecoderLayer($0, $1, $2, $3) }
    }
  }

  private struct Stubborn: ModelProvider {
    func model(_ part: ModelPart) throws -> CausalLM {
      try CausalLM(part.configuration, parallel: part.parallel, dtype: part.dtype)
    }
  }

  private static let config: JSONValue = [
    "model_type": "unheard-of", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
    "num_attention_heads": 2, "depth": 4,
  ]

  @Test func aProviderReadsTheConfigurationAndBuildsEachPart() throws {
    let recorder = Recorder()
    ModelProviders.register("recorder", recorder)
    let configuration = try ModelRegistry.configuration(Self.config, source: "test", provider: "recorder")
    #expect(configuration.layerCount == 4 && configuration.modelType == "recorded")
    let stage = ModelStage(layers: 2..<3, holdsEmbedding: false, holdsHead: true)
    let last = try configuration.model(parallel: .single(), stage: stage, dtype: .bfloat16, vpStage: 1)
    #expect(last.stage == stage && last.table.dtype == .bfloat16)
    _ = try configuration.model(parallel: .single(), dtype: .float32)
    #expect(recorder.asked.withLock { $0 } == ["false true 1", "true true nil"])
  }

  @Test func whatIsWrongIsSaid() throws {
    func message(_ provider: String, _ config: JSONValue) -> String {
      do {
        let stage = ModelStage(layers: 0..<1, holdsEmbedding: true, holdsHead: false)
        _ = try ModelRegistry.configuration(config, source: "test", provider: provider)
          .model(parallel: .single(), stage: stage, dtype: .float32)
        return ""
      } catch { return "\(error)" }
    }
    ModelProviders.register("stubborn", Stubborn())
    #expect(message("stubborn", Self.config).contains("model_type 'unheard-of'"))
    guard case .object(var object) = Self.config else { return }
    object["model_type"] = "llama"
    #expect(message("stubborn", .object(object)).contains("must build what it is asked for"))
    #expect(message("nobody", Self.config).contains("registered"))
    #expect(message("/nowhere/lib.so", Self.config).contains("/nowhere/lib.so does not exist"))
    #expect(message("\(fixture("algorithms.json").path):x", Self.config).contains("neither a Swift library"))
  }
}
