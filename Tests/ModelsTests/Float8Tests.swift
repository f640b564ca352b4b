import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// Matrices and models in e4m3, against PyTorch and `transformers`.
@Suite struct Float8Tests {
  static let cases: [(String, Float8Scaling)] = [
    ("whole", .block(rows: 16, columns: 32)), ("odd", .block(rows: 16, columns: 32)), ("odd128", .publishedBlock),
    ("small", .publishedBlock), ("rows", .row), ("tensor", .tensor),
  ]

  @Test(arguments: cases) func numbersAreThoseOfTransformers(_ name: String, _ scaling: Float8Scaling) throws {
    let file = try SafetensorsFile(fixture("float8/matrices.safetensors"))
    try catchingTorchErrors {
      let matrix = Float8Matrix(quantizing: try file.tensor("\(name).matrix"), scaling)
      let (values, scales) = (try file.tensor("\(name).values"), try file.tensor("\(name).scales"))
      #expect(matrix.values.viewing(.uint8).equal(values.viewing(.uint8)))
      #expect(matrix.storedScales(scaling).flatten().equal(scales.flatten()))
      let stored = Float8Matrix(values: values, stored: scales, scaling)
      #expect(stored.scales.equal(matrix.scales))
      #expect(stored.dequantized(.float32).equal(try file.tensor("\(name).fp32")))
      #expect(stored.dequantized(.bfloat16).equal(try file.tensor("\(name).bf16")))

      let (input, wanted) = (try file.tensor("\(name).input"), try file.tensor("\(name).product"))
      let bias = Tensor.randn([wanted.size(1)], generator: Generator(seed: 1))
      for (found, wanted) in [
        (input.float8Linear(stored), wanted), (input.float8Linear(stored, bias: bias), wanted + bias),
      ] {
        let error = (found - wanted).abs() / wanted.abs().amax([1], keepdim: true).clampMin(1e-30)
        #expect(error.max().item() < 1e-5)
      }
      #expect(input[0..<0].float8Linear(stored).shape == [0, wanted.size(1)])
    }
  }

  /// Rows that are cut out keep their scales, and so do columns that begin a group.
  @Test func partsAreThoseOfTheWhole() throws {
    try catchingTorchErrors {
      let whole = Float8Matrix(quantizing: .randn([50, 70], generator: Generator(seed: 2)), .block(rows: 16, columns: 32))
      let numbers = whole.dequantized(.float32)
      #expect(whole.rows(7..<41).dequantized(.float32).equal(numbers[7..<41]))
      #expect(whole.columns(32..<70).dequantized(.float32).equal(numbers.narrow(1, start: 32, length: 38)))
      let halves = Float8Matrix.joined([whole.rows(0..<9), whole.rows(9..<50)])
      #expect(halves.dequantized(.float32).equal(numbers))
    }
  }

  /// Overflow, nothing and what is no number stay where they are.
  @Test func extremes() throws {
    try catchingTorchErrors {
      let matrix = Tensor([0, 0, 1e-44, 0, 3e38, -3e38, .nan, 1] as [Float], shape: [4, 2])
      let found: [Float] = Float8Matrix(quantizing: matrix, .row).dequantized(.float32).array()
      #expect(found[0] == 0 && found[1] == 0 && found[2] == 0 && found[3] == 0)
      #expect(abs(found[4] / 3e38 - 1) < 1e-6 && abs(found[5] / -3e38 - 1) < 1e-6 && found[6].isNaN)
    }
  }

  static let models = ["qwen3-block-128", "qwen3-block-16", "qwen3-moe-block-16", "qwen2-tensor"]

  /// Loaded as plain numbers, and computed with as it is stored.
  @Test(arguments: models) func modelsMatchPyTorch(_ name: String) throws {
    let folder = try HuggingFaceFolder(fixture("float8/\(name)"))
    let reference = try SafetensorsFile(folder.url.appendingPathComponent("reference.safetensors"))
    let configuration = try ModelRegistry.configuration(of: folder)
    #expect(configuration.storedQuantization != nil && configuration.quantization == nil)
    let tokens: Tensor = try reference.tensor("tokens")
    let plain = try logProbs(configuration, folder, tokens)
    let wanted = try reference.tensor("log_probs")
    #expect((plain - wanted).abs().max().item() < 1e-4)

    let float8 = try logProbs(configuration.quantized(nil), folder, tokens)
    let error = (float8 - (try reference.tensor("float8_log_probs"))).abs()
    // A number that lies between two of e4m3 may go the other way.
    #expect(error.mean().item() < 2e-3 && error.max().item() < 2e-2, "\(error.mean().item()) \(error.max().item())")
    #expect((float8 - wanted).abs().mean().item() > 2e-2)
  }

  private func logProbs(_ configuration: ModelConfiguration, _ folder: HuggingFaceFolder, _ tokens: Tensor) throws -> Tensor {
    try withoutGradients {
      let model = try configuration.model(parallel: .single(), dtype: .float32)
      try catchingTorchErrors { try model.load(folder, dtype: .float32, device: .cpu) }
      let count = tokens.count
      let context = ForwardContext(positions: .arange(count), attention: PackedAttention(lengths: [count], device: .cpu))
      return model.statistics(
        model.hidden(tokens, context), at: .arange(count - 1), targets: tokens[1..<count], temperature: 1
      ).logProbs
    }
  }

  /// What the ranks of a layout load are the parts of what one loads, in both forms.
  @Test(arguments: [("qwen3-block-16", 2, 1), ("qwen3-moe-block-16", 2, 1), ("qwen3-moe-block-16", 2, 2), ("qwen2-tensor", 4, 1)])
  func ranksLoadTheirParts(_ name: String, tensor: Int, expert: Int) throws {
    let folder = try HuggingFaceFolder(fixture("float8/\(name)"))
    let layout = try ParallelLayout(
      worldSize: tensor, tensorParallelSize: tensor, expertParallelSize: expert, expertTensorParallelSize: tensor / expert)
    try catchingTorchErrors {
      let stored = try ModelRegistry.configuration(of: folder)
      for configuration in [stored, stored.quantized(nil)] {
        let whole = try configuration.model(parallel: .single(), dtype: .float32)
        let loader = try WeightLoader(folder, for: whole)
        var wanted: [String: Tensor] = [:]
        for parameter in whole.table.parameters {
          let matrix = try parameter.quantization.map { try loader.float8(parameter, $0) }
          let value = try matrix?.dequantized(.float32) ?? loader.tensor(parameter, dtype: .float32)
          for (name, part) in checkpointTensors(parameter, value) { wanted[name] = part }
        }
        for rank in 0..<tensor {
          let model = try configuration.model(parallel: .imagined(layout, rank: rank), dtype: .float32)
          let loader = try WeightLoader(folder, for: model)
          for parameter in model.table.parameters {
            let matrix = try parameter.quantization.map { try loader.float8(parameter, $0) }
            if let matrix { #expect(matrix.values.shape == parameter.shape && matrix.scales.shape == parameter.scales?.shape) }
            let value = try matrix?.dequantized(.float32) ?? loader.tensor(parameter, dtype: .float32)
            for (piece, rows) in parameter.rows {
              var part = try #require(wanted[piece.checkpointName])
              if let slice = piece.slice {
                part = part.narrow(slice.dimension, start: piece.range(slice.dimension).lowerBound, length: piece.range(slice.dimension).count)
              }
              #expect(value[rows].equal(part), "\(piece.checkpointName)")
            }
          }
        }
      }
    }
  }

  @Test func ranksThatCutBlocksAreRefused() throws {
    let configuration = try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("float8/qwen3-block-128")))
    let two = ParallelContext.imagined(try ParallelLayout(worldSize: 2, tensorParallelSize: 2), rank: 0)
    let error = #expect(throws: ModelError.self) { try configuration.quantized(nil).model(parallel: two, dtype: .float32) }
    let sentence = try #require(error).description
    #expect(sentence.contains("144 inputs") && sentence.contains("blocks of 128") && sentence.contains("--quantization unquant"))
    _ = try configuration.quantized(.unquantized).model(parallel: two, dtype: .float32)
  }

  @Test func modulesAreExcludedAsTransformersDoes() {
    func applies(_ pattern: String, _ module: String) -> Bool {
      Float8Scheme(.row, excludedModules: [pattern]).applies(to: module)
    }
    #expect(!applies("lm_head", "lm_head") && !applies("model.layers.1", "model.layers.1.mlp.up_proj"))
    #expect(applies("model.layers.1", "model.layers.11.mlp.up_proj") && applies("model.layers.0.mlp.gate", "model.layers.0.mlp.gate_proj"))
    #expect(!applies("o_proj", "model.layers.3.self_attn.o_proj") && !applies("model.layers.*", "model.layers.11.mlp.up_proj"))
    #expect(!applies("re:.*self_attn.*", "model.layers.3.self_attn.o_proj") && applies("re:.*self_attn.*", "model.layers.3.mlp.up_proj"))
  }

  @Test(arguments: [
    (#"{"quant_method": "awq", "bits": 4}"#, ["awq", "bf16"]),
    (#"{"quant_method": "fp8", "activation_scheme": "static"}"#, ["static", "dynamic"]),
    (#"{"quant_method": "fp8", "weight_block_size": [128]}"#, ["weight_block_size", "two"]),
    (#"{"quant_method": "fp8", "fmt": "e5m2"}"#, ["e5m2", "e4m3"]),
    (
      #"{"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4, "type": "int"}}}}"#,
      ["int of 4 bits", "bf16"]
    ),
  ])
  func whatCannotBeReadIsRefused(_ quantization: String, _ words: [String]) throws {
    guard case .object(var config) = try HuggingFaceFolder(fixture("float8/qwen3-block-16")).config else { return }
    config["quantization_config"] = try JSONValue(parsing: Data(quantization.utf8))
    let error = #expect(throws: ModelError.self) { try ModelRegistry.configuration(.object(config), source: "config.json") }
    let sentence = try #require(error).description
    for word in words { #expect(sentence.contains(word), "\(sentence)") }
  }

  /// Experts that are stored as one tensor, scales likewise, are those that are stored each by itself.
  @Test func stackedExpertsAreTheSame() throws {
    let folder = try HuggingFaceFolder(fixture("float8/qwen3-moe-block-16"))
    let weights = try folder.weights()
    try withTemporaryFolder { area in
      let place = "model.layers.0.mlp.experts."
      func stack(_ parts: [String], _ suffix: String) throws -> Tensor {
        .stack(
          try (0..<4).map { expert in
            .cat(try parts.map { try weights.tensor("\(place)\(expert).\($0).weight\(suffix)") }, dim: 0)
          }, dim: 0)
      }
      var tensors = try weights.names.filter { !$0.hasPrefix(place) }.map { TensorSource($0, try weights.tensor($0)) }
      for suffix in ["", "_scale_inv"] {
        tensors.append(TensorSource("\(place)gate_up_proj\(suffix)", try stack(["gate_proj", "up_proj"], suffix)))
        tensors.append(TensorSource("\(place)down_proj\(suffix)", try stack(["down_proj"], suffix)))
      }
      let stacked = area.appendingPathComponent("stacked")
      try HuggingFaceFolder.save(to: stacked, config: folder.config, tensors: tensors)
      let model = try ModelRegistry.configuration(of: folder).quantized(nil).model(parallel: .single(), dtype: .float32)
      let loaders = try [folder, HuggingFaceFolder(stacked)].map { try WeightLoader($0, for: model) }
      for parameter in model.table.parameters {
        #expect(try loaders[0].tensor(parameter, dtype: .float32).equal(loaders[1].tensor(parameter, dtype: .float32)))
        guard let scaling = parameter.quantization else { continue }
        let both = try loaders.map { try $0.float8(parameter, scaling) }
        #expect(both[0].values.viewing(.uint8).equal(both[1].values.viewing(.uint8)) && both[0].scales.equal(both[1].scales))
      }
    }
  }

  /// A checkpoint whose scales are missing, or those of another shape.
  @Test func wrongScalesAreRefused() throws {
    let folder = try HuggingFaceFolder(fixture("float8/qwen3-block-16"))
    let weights = try folder.weights()
    let name = "model.layers.0.mlp.up_proj.weight_scale_inv"
    for scales in [nil, Tensor.ones([4, 4])] as [Tensor?] {
      try withTemporaryFolder { area in
        let broken = area.appendingPathComponent("broken")
        try HuggingFaceFolder.save(
          to: broken, config: folder.config,
          tensors: weights.names.compactMap { other in
            other == name ? scales.map { TensorSource(name, $0) } : TensorSource(other, try! weights.tensor(other))
          })
        let model = try ModelRegistry.configuration(of: folder).model(parallel: .single(), dtype: .float32)
        let error = #expect(throws: ModelError.self) { try WeightLoader(HuggingFaceFolder(broken), for: model) }
        #expect(try #require(error).description.contains(name))
      }
    }
  }

  /// Written as e4m3 and read again, weights are what quantising them gives; those that are not whole blocks stay.
  @Test func foldersAreWritten() throws {
    let config: JSONValue = [
      "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 64, "hidden_size": 128,
      "intermediate_size": 200, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 32,
      "hidden_act": "silu", "tie_word_embeddings": false, "torch_dtype": "float32",
    ]
    try withTemporaryFolder { area in
      let plain = area.appendingPathComponent("plain")
      try writeRandomModel(config, to: plain, seed: 4)
      let (folder, written, back) = (try HuggingFaceFolder(plain), area.appendingPathComponent("fp8"), area.appendingPathComponent("back"))
      try CheckpointConversion.toHuggingFace(folder, to: written, quantized: true)
      try CheckpointConversion.toHuggingFace(HuggingFaceFolder(written), to: back, quantized: false)
      let (before, after, again) = (
        try folder.weights(), try HuggingFaceFolder(written).weights(), try HuggingFaceFolder(back).weights()
      )
      #expect(try HuggingFaceFolder(back).config == config)
      #expect(Set(again.names) == Set(before.names))
      for name in before.names {
        let isQuantized = name.contains("self_attn") && name.hasSuffix("proj.weight")
        let old = try before.tensor(name)
        let matrix = isQuantized ? Float8Matrix(quantizing: old, .publishedBlock) : nil
        #expect(after.contains(name + "_scale_inv") == isQuantized)
        #expect(try after.tensor(name).dtype == (isQuantized ? .float8e4m3 : .float32))
        #expect(try again.tensor(name).equal(matrix?.dequantized(.float32) ?? old), "\(name)")
      }
      let excluded = try HuggingFaceFolder(written).config["quantization_config"]?["modules_to_not_convert"]?.array?.compactMap(\.string)
      #expect(excluded == ["lm_head", "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj"])
    }
  }
}
