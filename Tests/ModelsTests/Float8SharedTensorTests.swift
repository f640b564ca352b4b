import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// Folders whose e4m3 tensors hold several weights: query, key and value, gate and up, the experts of a layer.
@Suite struct Float8SharedTensorTests {
  static let names = [
    "models/phi3", "models/glm4", "models/qwen3-next", "models/qwen35-moe", "models/gpt-oss", "models/qwen3-moe-stacked",
    "vision/qwen3-vl-moe", "vision/qwen3-vl-moe-stacked", "vision/qwen3.5-moe",
  ]

  /// Blocks that none of the parts of these models begin and end with.
  private static let block = Float8Scaling.block(rows: 5, columns: 5)

  private static func isLinear(_ name: String) -> Bool {
    ["q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj", "gate_up_proj", "gate_proj", "up_proj", "down_proj", "in_proj_qkvz", "in_proj_qkv"]
      .contains { name.hasSuffix(".\($0).weight") || name.hasSuffix(".experts.\($0)") } && !name.contains("visual")
  }

  /// Writes a model's linear weights as e4m3, each matrix of a tensor with scales of its own, and as the numbers that these
  /// stand for.
  private static func write(_ folder: HuggingFaceFolder, float8: URL, plain: URL) throws {
    let weights = try folder.weights()
    var (stored, numbers) = ([TensorSource](), [TensorSource]())
    for name in weights.names {
      let tensor = try weights.tensor(name)
      guard isLinear(name) else {
        stored.append(TensorSource(name, tensor))
        numbers.append(TensorSource(name, tensor))
        continue
      }
      let matrices = (tensor.shape.count == 2 ? [tensor] : tensor.unbind(0)).map { Float8Matrix(quantizing: $0, block) }
      func whole(_ parts: [Tensor]) -> Tensor { tensor.shape.count == 2 ? parts[0] : .stack(parts, dim: 0) }
      stored.append(TensorSource(name, whole(matrices.map(\.values))))
      stored.append(TensorSource(name + "_scale_inv", whole(matrices.map { $0.storedScales(block) })))
      numbers.append(TensorSource(name, whole(matrices.map { $0.dequantized(.float32) })))
    }
    let quantization: JSONValue = ["quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [5, 5]]
    try HuggingFaceFolder.save(
      to: float8, config: folder.config.setting("quantization_config", to: quantization), tensors: stored, copyingFrom: folder)
    try HuggingFaceFolder.save(to: plain, config: folder.config, tensors: numbers, copyingFrom: folder)
  }

  /// Read as plain numbers, every weight is what its part of the tensor stands for.
  @Test(arguments: names) func partsAreReadWithTheirScales(_ name: String) throws {
    try withTemporaryFolder { area in
      let folder = try HuggingFaceFolder(fixture(name))
      let (float8, plain) = (area.appendingPathComponent("float8"), area.appendingPathComponent("plain"))
      try catchingTorchErrors { try Self.write(folder, float8: float8, plain: plain) }
      let models = try [float8, plain].map { url in
        let folder = try HuggingFaceFolder(url)
        let model = try ModelRegistry.configuration(of: folder).model(parallel: .single(), dtype: .float32)
        try catchingTorchErrors { try model.load(folder, dtype: .float32, device: .cpu) }
        return model
      }
      #expect(models[0].configuration.storedQuantization != nil)
      for (first, second) in zip(models[0].table.parameters, models[1].table.parameters) {
        #expect(first.tensor.equal(second.tensor), "\(first.name)")
      }
    }
  }

  /// Kept as e4m3, a part has its scales where it is whole blocks, and is quantised anew where not.
  @Test func partsAreKeptWithTheirScales() throws {
    try withTemporaryFolder { area in
      let folder = try HuggingFaceFolder(fixture("models/phi3"))
      let (float8, plain) = (area.appendingPathComponent("float8"), area.appendingPathComponent("plain"))
      try catchingTorchErrors { try Self.write(folder, float8: float8, plain: plain) }
      let stored = try HuggingFaceFolder(float8)
      let weights = try stored.weights()
      let model = try ModelRegistry.configuration(of: stored).quantized(nil).model(parallel: .single(), dtype: .float32)
      try catchingTorchErrors { try model.load(stored, dtype: .float32, device: .cpu) }
      let (values, scales) = (
        try weights.tensor("model.layers.0.mlp.gate_up_proj.weight"),
        try weights.tensor("model.layers.0.mlp.gate_up_proj.weight_scale_inv")
      )
      let parameter = try #require(model.table["model.layers.0.mlp.gate_up_proj.weight"])
      // 40 rows each: whole blocks of 5.
      #expect(parameter.float8?.values.viewing(.uint8).equal(values.viewing(.uint8)) == true)
      #expect(parameter.float8?.scales.equal(Float8Matrix(values: values, stored: scales, Self.block).scales) == true)
      // 32, 16 and 16 rows are not.
      let attention = try #require(model.table["model.layers.0.self_attn.qkv_proj.weight"]?.float8)
      let numbers = try HuggingFaceFolder(plain).weights().tensor("model.layers.0.self_attn.qkv_proj.weight")
      let keys = Float8Matrix(quantizing: numbers[32..<48], Self.block)
      #expect(attention.values[32..<48].viewing(.uint8).equal(keys.values.viewing(.uint8)))
      #expect(attention.scales[32..<48].equal(keys.scales))
    }
  }

  /// What config.json excludes it names as the checkpoint does.
  @Test func exclusionsNameStoredTensors() throws {
    let folder = try HuggingFaceFolder(fixture("models/qwen3-next"))
    let quantization: JSONValue = [
      "quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128],
      "modules_to_not_convert": ["model.layers.0.linear_attn.in_proj_ba"],
    ]
    let configuration = try ModelRegistry.configuration(
      folder.config.setting("quantization_config", to: quantization), source: "a test").quantized(nil)
    let table = try configuration.model(parallel: .single(), dtype: .float32).table
    #expect(table["model.layers.0.linear_attn.in_proj.weight"]?.quantization == nil)
    #expect(table["model.layers.1.linear_attn.in_proj.weight"]?.quantization != nil)
    #expect(table["model.layers.0.linear_attn.out_proj.weight"]?.quantization != nil)
    // What is sent to engines that have the checkpoint's tensors.
    let scalings = try configuration.storedScalings()
    #expect(scalings["model.layers.0.linear_attn.in_proj_ba.weight"] == nil && scalings["model.embed_tokens.weight"] == nil)
    for name in ["0.linear_attn.in_proj_qkvz", "1.linear_attn.in_proj_ba", "3.self_attn.q_proj", "3.self_attn.k_proj", "0.mlp.experts.2.up_proj"] {
      #expect(scalings["model.layers.\(name).weight"] == .publishedBlock, "\(name)")
    }
  }

  /// With scales of rows, matrices whose inputs stand before their outputs cannot be read.
  @Test func rowsOfInputsAreRefused() throws {
    try withTemporaryFolder { area in
      let folder = try HuggingFaceFolder(fixture("models/gpt-oss"))
      let weights = try folder.weights()
      let experts = "model.layers.0.mlp.experts.down_proj"
      let tensors = try weights.names.flatMap { name in
        let tensor = try weights.tensor(name)
        guard name == experts else { return [TensorSource(name, tensor)] }
        return [
          TensorSource(name, tensor.to(dtype: .float8e4m3)), TensorSource(name + "_scale", .ones([tensor.size(0), tensor.size(1), 1])),
        ]
      }
      let quantization: JSONValue = [
        "quant_method": "compressed-tensors",
        "config_groups": ["g": [
          "weights": ["num_bits": 8, "type": "float", "strategy": "channel"], "input_activations": ["dynamic": true],
        ]],
      ]
      let url = area.appendingPathComponent("rows")
      try HuggingFaceFolder.save(to: url, config: folder.config.setting("quantization_config", to: quantization), tensors: tensors)
      let stored = try HuggingFaceFolder(url)
      let model = try ModelRegistry.configuration(of: stored).model(parallel: .single(), dtype: .float32)
      let error = #expect(throws: ModelError.self) { try WeightLoader(stored, for: model) }
      #expect(try #require(error).description.contains(experts))
    }
  }

  /// Written as e4m3, tensors of several weights become blocks as a whole, and experts stand by themselves where the family
  /// knows that; read again they are what that gives.
  @Test func foldersAreWritten() throws {
    let phi: JSONValue = [
      "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "vocab_size": 64, "hidden_size": 128, "intermediate_size": 128,
      "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu", "torch_dtype": "float32",
    ]
    let text: JSONValue = [
      "vocab_size": 64, "hidden_size": 128, "moe_intermediate_size": 128, "shared_expert_intermediate_size": 128, "num_experts": 2,
      "num_experts_per_tok": 1, "num_hidden_layers": 1, "layer_types": ["full_attention"], "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 128, "hidden_act": "silu", "rope_parameters": ["mrope_section": [6, 5, 5], "rope_theta": 1e4],
      "dtype": "float32",
    ]
    let qwen: JSONValue = [
      "architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe", "text_config": text,
      "vision_config": [
        "depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 4, "out_hidden_size": 128,
        "num_position_embeddings": 16, "deepstack_visual_indexes": [],
      ],
    ]
    for (config, whole, kept) in [
      (phi, ["model.layers.0.self_attn.qkv_proj.weight", "model.layers.0.mlp.gate_up_proj.weight"], "lm_head"),
      (qwen, [
        "model.language_model.layers.0.self_attn.q_proj.weight", "model.language_model.layers.0.mlp.experts.1.up_proj.weight",
        "model.language_model.layers.0.mlp.shared_expert.down_proj.weight",
      ], "model.visual.blocks.0.attn.qkv"),
    ] {
      try withTemporaryFolder { area in
        let (plain, written, back) = (area.appendingPathComponent("plain"), area.appendingPathComponent("fp8"), area.appendingPathComponent("back"))
        try writeRandomModel(config, to: plain, seed: 4)
        let folder = try HuggingFaceFolder(plain)
        try CheckpointConversion.toHuggingFace(folder, to: written, quantized: true)
        try CheckpointConversion.toHuggingFace(HuggingFaceFolder(written), to: back, quantized: false)
        let (before, after, again) = (
          try folder.weights(), try HuggingFaceFolder(written).weights(), try HuggingFaceFolder(back).weights()
        )
        for name in whole { #expect(after.contains(name + "_scale_inv"), "\(name)") }
        let excluded = try HuggingFaceFolder(written).config["quantization_config"]?["modules_to_not_convert"]?.array?.compactMap(\.string)
        #expect(try #require(excluded).contains(kept))
        #expect(Set(again.names) == Set(before.names))
        for name in before.names {
          let old = try before.tensor(name)
          let isFloat8 = after.contains(name + "_scale_inv") || name.hasSuffix(".experts.gate_up_proj") || name.hasSuffix(".experts.down_proj")
          let matrices = (old.shape.count == 2 ? [old] : old.unbind(0)).map { isFloat8 ? Float8Matrix(quantizing: $0, .publishedBlock).dequantized(.float32) : $0 }
          let wanted = old.shape.count == 2 ? matrices[0] : isFloat8 ? .stack(matrices, dim: 0) : old
          #expect(try again.tensor(name).equal(wanted), "\(name)")
        }
      }
    }
  }
}
