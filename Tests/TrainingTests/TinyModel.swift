import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import TestSupport
import Torch
import Training

/// A tiny random model as a Hugging Face folder, gone with the value.
final class TinyModel: Sendable {
  let url: URL

  /// - Parameter changes: keys of config.json besides the usual ones.
  init(_ changes: JSONValue = [:], seed: UInt64 = 1) throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("slime-tiny-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    var config = JSONObject([
      ("architectures", ["Qwen3ForCausalLM"]), ("model_type", "qwen3"), ("vocab_size", 67), ("hidden_size", 32),
      ("intermediate_size", 48), ("num_hidden_layers", 4), ("num_attention_heads", 4), ("num_key_value_heads", 2),
      ("head_dim", 8), ("hidden_act", "silu"), ("rms_norm_eps", 1e-6), ("rope_theta", 10000),
      ("max_position_embeddings", 256), ("tie_word_embeddings", false), ("initializer_range", 0.2),
      ("torch_dtype", "float32"),
    ])
    if case .object(let object) = changes { for (key, value) in object.pairs { config[key] = value } }
    try JSONValue.object(config).data(.indented(2)).write(to: url.appendingPathComponent("config.json"))
    let model = try CausalLM(
      ModelRegistry.configuration(.object(config), source: "a tiny model"), parallel: .single(), dtype: .float32)
    try catchingTorchErrors {
      model.initialize(seed: seed)
      // Norms and biases that are all alike would hide mistakes.
      let generator = Generator(seed: seed + 1)
      for parameter in model.table.parameters where parameter.shape.count == 1 {
        _ = withoutGradients { parameter.tensor.add_(Tensor.randn(parameter.shape, generator: generator) * 0.2) }
      }
      try model.save(to: url)
    }
  }

  /// A copy of a fixture.
  init(fixture name: String, in folder: String = "models") throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("slime-tiny-" + UUID().uuidString)
    try FileManager.default.copyItem(at: TestSupport.fixture("\(folder)/\(name)"), to: url)
  }

  func layerCount() throws -> Int { try ModelRegistry.configuration(of: HuggingFaceFolder(url)).layerCount }

  deinit { try? FileManager.default.removeItem(at: url) }
}

/// A rollout of random samples: equal seeds give equal ones.
func randomBatch(samples: Int, seed: UInt64, vocabulary: Int = 67, longest: Int = 24) -> TrainBatch {
  var random = SplitMix(seed: seed)
  var batch = TrainBatch(rolloutID: 0)
  for sample in 0..<samples {
    let response = random.next(1...longest / 2)
    let length = response + random.next(1...longest / 2)
    let tokens = (0..<length).map { _ in Int32(random.next(0...vocabulary - 1)) }
    // Some tokens are not trained on; one response in eight not at all.
    let mask = (0..<response).map { _ in UInt8(sample % 8 == 7 ? 0 : random.next(0...4) == 0 ? 0 : 1) }
    batch.add(
      tokens: tokens, mask: mask, sample: sample, reward: Float(random.next(-10...10)) / 5,
      logProbs: (0..<response).map { _ in -4 + Float(random.next(0...100)) / 100 })
  }
  return batch
}

struct SplitMix {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next(_ range: ClosedRange<Int>) -> Int {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return range.lowerBound + Int((z ^ (z >> 31)) % UInt64(range.count))
  }
}
