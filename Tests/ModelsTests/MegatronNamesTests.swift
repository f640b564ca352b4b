import Checkpoints
import Foundation
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// torch_dist's names and layouts.
@Suite struct MegatronNamesTests {
  static let names = ["qwen25-tied", "qwen3-sharded", "llama-biases-3-heads", "qwen3-attention-bias", "qwen3-moe", "qwen2-moe", "deepseek-v3",
    "glm4-moe", "phi3", "mixtral", "gemma3", "gpt-oss", "gpt2-untied-scaled", "gpt-neox", "qwen3-next", "qwen35", "gemma3-eyes"]

  /// There and back again, every tensor is the same bit for bit.
  @Test(arguments: names) func conversionGoesBack(name: String) throws {
    let area = FileManager.default.temporaryDirectory.appendingPathComponent("slime-convert-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: area) }
    let folder = try HuggingFaceFolder(fixture("models/\(name)"))
    let directory = CheckpointDirectory(area.appendingPathComponent("dist"))
    try CheckpointConversion.toTorchDist(folder, in: directory)
    let back = area.appendingPathComponent("hf")
    try CheckpointConversion.toHuggingFace(directory.folder(iteration: 0), like: folder, to: back)
    let (before, after) = (try folder.weights(), try HuggingFaceFolder(back).weights())
    let model = try CausalLM(ModelRegistry.configuration(of: folder), parallel: .single(), dtype: .float32)
    let leftAside = before.names.filter { name in
      ["mtp.", "vision_tower.", "multi_modal_projector."].contains(where: name.hasPrefix)
        || CausalLM.layer(of: name).map { $0 >= model.configuration.layerCount } == true
    }
    #expect(Set(after.names) == Set(StoredLayout(model).tensors.map(\.name) + leftAside))
    for name in after.names { #expect(try before.tensor(name).equal(try after.tensor(name)), "\(name)") }
  }

  /// Prediction layers go there and back too, with the copies of embedding and head that they come with, and are taken from
  /// the folder where the checkpoint has none.
  @Test(arguments: ["mimo", "deepseek", "qwen3-next"]) func predictionLayersAreKept(name: String) throws {
    try withTemporaryFolder { area in
      let folder = try HuggingFaceFolder(fixture("prediction/\(name)/model"))
      let before = try folder.weights()
      func expectKept(_ url: URL) throws {
        let after = try HuggingFaceFolder(url).weights()
        #expect(Set(after.names) == Set(before.names))
        for name in after.names { #expect(try before.tensor(name).equal(try after.tensor(name)), "\(name)") }
      }
      let directory = CheckpointDirectory(area.appendingPathComponent("dist"))
      try CheckpointConversion.toTorchDist(folder, in: directory)
      let reader = try TorchDistReader(directory.folder(iteration: 0))
      #expect(reader.contains("mtp.layers.0.enorm.weight") && reader.contains("mtp.layers.0.final_layernorm.weight"))
      // Megatron-Core has the halves of MiMo's projection the other way round.
      #expect(reader.contains("mtp.layers.0.eh_proj.weight") == (name != "mimo"))
      try CheckpointConversion.toHuggingFace(
        directory.folder(iteration: 0), like: folder, to: area.appendingPathComponent("back"))
      try expectKept(area.appendingPathComponent("back"))

      // The same without the layers.
      let bare = area.appendingPathComponent("bare")
      let plain = try ModelRegistry.configuration(of: folder).model(parallel: .single(), dtype: .float32)
      try FileManager.default.createDirectory(at: bare, withIntermediateDirectories: true)
      try FileManager.default.copyItem(at: folder.configFile, to: bare.appendingPathComponent("config.json"))
      try plain.load(folder, dtype: .float32, device: .cpu)
      try plain.save(to: bare)
      let other = CheckpointDirectory(area.appendingPathComponent("other"))
      try CheckpointConversion.toTorchDist(HuggingFaceFolder(bare), in: other)
      for (source, target) in [(folder, "kept"), (try HuggingFaceFolder(bare), "left")] {
        try CheckpointConversion.toHuggingFace(other.folder(iteration: 0), like: source, to: area.appendingPathComponent(target))
      }
      try expectKept(area.appendingPathComponent("kept"))
      #expect(try HuggingFaceFolder(area.appendingPathComponent("left")).weights().names.sorted() == HuggingFaceFolder(bare).weights().names.sorted())
    }
  }

  /// Query, key and value of each key-value head one after another, as Megatron-Core's `linear_qkv` has them.
  @Test func headsAreGrouped() throws {
    let folder = try HuggingFaceFolder(fixture("models/qwen25-tied"))
    let model = try ModelRegistry.configuration(of: folder)
    let area = FileManager.default.temporaryDirectory.appendingPathComponent("slime-convert-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: area) }
    let directory = CheckpointDirectory(area)
    try CheckpointConversion.toTorchDist(folder, in: directory)
    let found = try TorchDistReader(directory.folder(iteration: 0)).tensor("decoder.layers.self_attention.linear_qkv.weight")[1]
    let weights = try folder.weights()
    func heads(_ name: String, _ groups: Int) throws -> [Tensor] {
      try weights.tensor("model.layers.1.self_attn.\(name).weight").chunk(groups, dim: 0)
    }
    let groups = model.keyValueHeadCount
    let (q, k, v) = (try heads("q_proj", groups), try heads("k_proj", groups), try heads("v_proj", groups))
    #expect(found.equal(Tensor.cat((0..<groups).flatMap { [q[$0], k[$0], v[$0]] }, dim: 0)))
  }

  /// The boxes of all tensor-parallel ranks' parts fill each tensor exactly once.
  @Test(arguments: [1, 2, 4], ["qwen25-tied", "llama3-gqa", "qwen35"]) func boxesCoverEverything(size: Int, name: String) throws {
    let model = try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("models/\(name)")))
    guard model.headCount % size == 0, (model.linearAttention?.keyHeadCount ?? size) % size == 0 else { return }
    let layout = try ParallelLayout(worldSize: size, tensorParallelSize: size)
    var filled: [String: Tensor] = [:]
    for rank in 0..<size {
      let part = try CausalLM(model, parallel: .imagined(layout, rank: rank), dtype: .float32)
      for piece in part.table.parameters.flatMap(\.pieces) where rank % (size / (piece.slice?.count ?? 1)) == 0 {
        for part in MegatronNames(model).parts(piece) {
          var box = filled[part.key] ?? Tensor.zeros(part.globalShape)
          filled[part.key] = box
          for (dimension, (offset, count)) in zip(part.box.offsets, part.box.sizes).enumerated() {
            box = box.narrow(dimension, start: offset, length: count)
          }
          _ = box.add_(1)
        }
      }
    }
    for (key, counts) in filled { #expect(counts.eq(1).all().item() == 1, "\(key)") }
    #expect(filled.count > 5)
  }
}
