import Checkpoints
import Foundation
import JSON
import TestSupport
import Testing
import Torch

/// The library of `Examples/custom-model`, built and used as a user would.
@Suite(.serialized) struct CustomModelTests {
  private static let example = fixture("").deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Examples/custom-model")

  @Test func aLibraryBuildsTheModel() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try writeTinyModel(to: folder.appendingPathComponent("plain"), seed: 5)
    let library = try await Self.build(in: folder)
    try Data(#"{"tokens": [7, 3, 250, 91, 4, 4, 118, 60]}"#.utf8).write(to: folder.appendingPathComponent("in.jsonl"))

    // Where one of the two parts of each layer gives nothing, parts side by side are parts one after another.
    for (zero, isNorm) in [("o_proj", true), ("down_proj", false)] {
      // The parts share the first norm.
      try Self.derive("serial", from: "plain", in: folder) { name, tensor, tensors in
        if isNorm, name.contains("post_attention_layernorm") {
          return tensors[name.replacing("post_attention_layernorm", with: "input_layernorm")]
        }
        return name.contains(zero) ? Tensor.zeros(tensor.shape) : tensor
      }
      try Self.derive("parallel", from: "serial", in: folder) { name, tensor, _ in
        name.contains("post_attention_layernorm") ? nil : tensor
      }
      let expected = try await Self.score("serial", "", in: folder)
      let found = try await Self.score("parallel", "--custom-model-provider-path \(library)", in: folder)
      #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-5 }, "\(zero): \(found), not \(expected)")
    }

    try Self.derive("model", from: "plain", in: folder) { name, tensor, _ in
      name.contains("post_attention_layernorm") ? nil : tensor
    }
    let flags = "--custom-model-provider-path \(library)"
    let whole = try await Self.score("model", flags, in: folder)
    let divided = try await Self.score(
      "model", flags + " --actor-num-gpus-per-node 4 --tensor-model-parallel-size 2 --sequence-parallel "
        + "--pipeline-model-parallel-size 2", in: folder)
    #expect(zip(divided, whole).allSatisfy { abs($0 - $1) < 1e-5 })

    try await Self.train(flags, in: folder)
    // What was saved is a model of the same kind.
    let saved = try await Self.score("saved-1", flags, in: folder)
    #expect(zip(saved, whole).contains { abs($0 - $1) > 1e-4 })
  }

  /// A rollout and a step in virtual stages, and the trained model as a folder: the engine runs the same model.
  private static func train(_ flags: String, in folder: URL) async throws {
    try Data((0..<4).map { #"{"prompt":"\#($0)+1=","label":"1"}"# }.joined(separator: "\n").utf8)
      .write(to: folder.appendingPathComponent("data.jsonl"))
    let line = """
      train --hf-checkpoint model --prompt-data data.jsonl --input-key prompt --label-key label --rm-type math --rollout-batch-size 4
      --n-samples-per-prompt 4 --rollout-max-response-len 12 --num-rollout 2 --global-batch-size 16 --lr 1e-2
      --actor-num-gpus-per-node 2 --pipeline-model-parallel-size 2 --rollout-num-gpus 1 --rollout-seed 3
      --entropy-coef 0.1 --save run --save-hf saved-{rollout_id} \(flags)
      """
    let run = try SlimeProcess(line.split(whereSeparator: \.isWhitespace).map(String.init), in: folder)
    try #require(try await run.end() == 0, "\(run.errors)")
    let text = try String(contentsOf: folder.appendingPathComponent("run/metrics.jsonl"), encoding: .utf8)
    let differences = try text.split(separator: "\n").compactMap {
      try JSONValue(parsing: String($0))["train/train_rollout_logprob_abs_diff"]?.double
    }
    #expect(differences.count == 2 && differences.allSatisfy { $0 < 1e-4 }, "\(differences)")
  }

  private static func score(_ model: String, _ flags: String, in folder: URL) async throws -> [Double] {
    let line = "score --hf-checkpoint \(model) --input in.jsonl --output out.jsonl \(flags)"
    let run = try SlimeProcess(line.split(separator: " ").map(String.init), in: folder)
    try #require(try await run.end() == 0, "\(run.errors)")
    let output = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("out.jsonl")))
    let logProbs = output["log_probs"]?.array?.compactMap(\.double) ?? []
    try #require(logProbs.count == 7)
    return logProbs
  }

  /// - Returns: the library's path.
  private static func build(in folder: URL) async throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    let scratch = folder.appendingPathComponent("build").path
    process.arguments = ["swift", "build", "-c", "release", "--package-path", example.path, "--scratch-path", scratch]
    let pipe = Pipe()
    (process.standardOutput, process.standardError) = (pipe, pipe)
    try process.run()
    let output = String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "\(output)")
    return scratch + "/release/libParallelBlocks.so"
  }

  /// Writes a model folder with other tensors in it.
  private static func derive(
    _ name: String, from other: String, in folder: URL,
    _ tensor: (_ name: String, _ tensor: Tensor, _ all: [String: Tensor]) -> Tensor?
  ) throws {
    let (source, target) = (folder.appendingPathComponent(other), folder.appendingPathComponent(name))
    try? FileManager.default.removeItem(at: target)
    try FileManager.default.copyItem(at: source, to: target)
    let files = try HuggingFaceFolder(source).weights()
    let tensors = Dictionary(uniqueKeysWithValues: try files.names.map { ($0, try files.tensor($0).clone()) })
    let file = target.appendingPathComponent(WeightFiles.singleFile)
    try FileManager.default.removeItem(at: file)
    try SafetensorsWriter.write(
      to: file,
      tensors: tensors.keys.sorted().compactMap { key in tensor(key, tensors[key]!, tensors).map { TensorSource(key, $0) } })
  }
}
