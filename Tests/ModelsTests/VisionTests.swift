import Checkpoints
import Foundation
import Images
import JSON
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// Models that see pictures, against `transformers` on the same weights, tokens and patches (fp32).
@Suite struct VisionTests {
  @Test(arguments: visionFixtures) func matchesTransformers(_ name: String) throws {
    let url = fixture("vision/\(name)")
    let folder = try HuggingFaceFolder(url)
    let file = try SafetensorsFile(url.appendingPathComponent("reference.safetensors"))
    let sequences = try VisionReference(file).sequences
    let model = try CausalLM(ModelRegistry.configuration(of: folder), parallel: .single(), dtype: .float32)
    let vision = try #require(model.configuration.vision)
    try catchingTorchErrors {
      try model.load(folder, dtype: .float32, device: .cpu)
      for parameter in model.table.parameters { parameter.tensor.requiresGrad = parameter.isLearned }
      var axes: [[Int]] = [[], [], []]
      var (rows, start) = ([Int](), 0)
      for sequence in sequences {
        let positions = try ImagePositions(tokens: sequence.tokens, grids: sequence.grids, vision)
        for axis in 0..<3 { axes[axis] += positions.axes[axis] }
        rows += positions.images.joined().map { start + $0 }
        start += sequence.tokens.count
      }
      let wanted: [Int] = try file.tensor("positions").array()
      #expect(axes.flatMap { $0 } == wanted)

      let lengths = sequences.map(\.tokens.count)
      let tokens = Tensor(sequences.flatMap(\.tokens))
      var context = ForwardContext(
        positions: Tensor(axes.flatMap { $0 }).view([3, -1]), attention: PackedAttention(lengths: lengths, device: .cpu))
      let patches = Tensor.cat(sequences.map(\.patches), dim: 0)
      context.images = ImageInputs(
        .patches(patches, sequences.flatMap(\.grids)), rows: rows, sources: Array(rows.indices))
      let hidden = model.hidden(tokens, context)
      let bounds = lengths.reduce(into: [0]) { $0.append($0.last! + $1) }
      let predicting = Tensor(zip(bounds, bounds.dropFirst()).flatMap { Array($0..<$1 - 1) })
      let statistics = model.statistics(
        hidden, at: predicting, targets: tokens.indexSelect(0, index: predicting + 1), temperature: 1)
      let error = (statistics.logProbs - (try file.tensor("log_probs"))).abs().max().item()
      #expect(error <= 1e-4, "log-probabilities: largest difference \(error)")
      (-statistics.logProbs.mean()).backward()
      try expectGradients(of: model, file)

      // What the tower made before is as good as the patches.
      try withoutGradients {
        let features = model.features(patches, grids: sequences.flatMap(\.grids))
        context.images = ImageInputs(.features(features), rows: rows, sources: Array(rows.indices))
        #expect(model.hidden(tokens, context).equal(hidden))
      }
    }
  }

  @Test func tokensAndPicturesMustAgree() throws {
    let vision = try #require(
      try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("vision/qwen3-vl"))).vision)
    let grid = ImageGrid(time: 1, height: 4, width: 4)
    let cases: [([Int], Int, String)] = [
      ([1, 90, 90, 90, 90], 2, "there are 2 pictures, but the prompt has places for 1"),
      ([1, 90, 90, 90, 2], 1, "takes 4 tokens, but only 3"), ([1, 2], 1, "places for 0"),
    ]
    for (tokens, count, complaint) in cases {
      let error = #expect(throws: ModelError.self) {
        try ImagePositions(tokens: tokens, grids: Array(repeating: grid, count: count), vision)
      }
      #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
    }
    // Tokens without a picture are text, as a model without pictures would have them.
    #expect(try ImagePositions(tokens: [1, 90, 90], grids: [], vision).axes == [[0, 1, 2], [0, 1, 2], [0, 1, 2]])
  }

  /// What a configuration asks for and is not built is named.
  @Test(arguments: [
    ("qwen3-vl", ["text_config"], ["rope_scaling": ["mrope_section": [1, 2]]], "mrope_section = [1, 2]"),
    ("qwen3-vl", ["vision_config"], ["out_hidden_size": 8], "out_hidden_size 8"),
    ("qwen3-vl", ["vision_config"], ["num_position_embeddings": 10], "num_position_embeddings = 10"),
    ("qwen3-vl", ["vision_config"], ["deepstack_visual_indexes": [7]], "deepstack_visual_indexes = [7]"),
    ("qwen3.5", ["vision_config"], ["deepstack_visual_indexes": [1]], "feeds no layers"),
    ("qwen3.5-moe", ["text_config"], ["partial_rotary_factor": 0.5, "rope_parameters": ["mrope_section": [1, 1, 1]]], "add up to 6"),
    ("qwen2.5-vl", ["vision_config"], ["hidden_size": 18], "hidden_size 18"),
    ("qwen2.5-vl", ["vision_config"], ["window_size": 4], "window_size"),
    ("qwen2.5-vl-tied", ["vision_config"], ["rope_parameters": ["rope_type": "round"]], "only axial"),
  ] as [(String, [String], JSONValue, String)])
  func whatIsNotBuiltIsNamed(_ name: String, part: [String], changes: JSONValue, complaint: String) throws {
    var config = try #require(try HuggingFaceFolder(fixture("vision/\(name)")).config.object)
    var own = try #require(config[part[0]]?.object)
    for (key, value) in try #require(changes.object).pairs { own[key] = value }
    config[part[0]] = .object(own)
    let error = #expect(throws: ModelError.self) { try ModelRegistry.configuration(.object(config), source: "a test") }
    #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
  }

  @Test func deterministicModeKnowsNoTower() throws {
    let configuration = try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("vision/qwen3-vl")))
    var parallel = ParallelContext.single()
    parallel.isDeterministic = true
    let error = #expect(throws: ModelError.self) { try configuration.model(parallel: parallel, dtype: .float32) }
    #expect(error?.description.contains("does not know the vision tower") == true, "\(error?.description ?? "")")
  }

  @Test func deepstackNeedsLayersInTheFirstStage() throws {
    let configuration = try ModelRegistry.configuration(of: HuggingFaceFolder(fixture("vision/qwen3-vl")))
    let stage = ModelStage(layers: 0..<1, holdsEmbedding: true, holdsHead: false)
    let error = #expect(throws: ModelError.self) {
      try configuration.model(parallel: .single(), stage: stage, dtype: .float32)
    }
    #expect(error?.description.contains("feed the first 2") == true, "\(error?.description ?? "")")
  }
}
