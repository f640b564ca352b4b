import Foundation
import TestSupport
import Testing

/// What a person writes wrong, or gives that is broken: one sentence and exit code 2, from whichever process notices.
@Suite(.serialized) struct MistakeTests {
  @Test func mistakesEndInOneSentence() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.prepare(folder)
    let train = "train --hf-checkpoint model --prompt-data data.jsonl --input-key prompt --label-key label --rm-type math --rollout-batch-size 2 --num-rollout 1"
    let mistakes: [(line: String, words: [String])] = [
      ("trian", ["'trian'", "did you mean 'train'"]),
      ("train --hf-chekpoint model", ["--hf-chekpoint", "did you mean --hf-checkpoint"]),
      ("train --hf-checkpoint nowhere --prompt-data data.jsonl --rm-type math --rollout-batch-size 2 --num-rollout 1", ["nowhere"]),
      (train.replacingOccurrences(of: "data.jsonl", with: "missing.jsonl"), ["missing.jsonl"]),
      (train.replacingOccurrences(of: "data.jsonl", with: "broken.jsonl"), ["broken.jsonl line 2"]),
      (train + " --bf16 --fp16", ["--fp16", "contradicts"]),
      (train + " --lr fast", ["--lr", "'fast'"]),
      (train + " --num-layers 7", ["num-layers", "7"]),
      (train + " --tensor-model-parallel-size 2", ["--tensor-model-parallel-size"]),
      (train.replacingOccurrences(of: "checkpoint model", with: "checkpoint cut"), ["cut/model.safetensors"]),
      (train.replacingOccurrences(of: "checkpoint model", with: "checkpoint unknown"), ["mamba"]),
      ("score --hf-checkpoint cut --input tokens.jsonl --output out.jsonl", ["cut/model.safetensors"]),
      ("score --hf-checkpoint model --input data.jsonl --output out.jsonl", ["data.jsonl line 1", "tokens"]),
      ("score --hf-checkpoint model --input tokens.jsonl", ["--output is required"]),
      ("serve --model-path cut --port 0", ["cut/model.safetensors"]),
      ("generate --hf-checkpoint bad-tokenizer --prompt x", ["bad-tokenizer/tokenizer.json"]),
      ("generate --hf-checkpoint model --prompt x --temperature -1", ["--temperature"]),
      ("inspect", ["folder", "slime inspect FOLDER"]),
      ("inspect cut", ["cut/model.safetensors", "truncated"]),
      ("bench speed", ["speed", "ops"]),
    ]
    try await withThrowingTaskGroup(of: Void.self) { group in
      var rest = mistakes[...]
      func startNext() {
        guard let mistake = rest.popFirst() else { return }
        group.addTask { try await Self.expectRefusal(mistake.line, mistake.words, folder) }
      }
      for _ in 0..<3 { startNext() }
      while try await group.next() != nil { startNext() }
    }
  }

  @Test func versionsAndSubjectsAreListed() async throws {
    let folder = FileManager.default.temporaryDirectory
    let version = try SlimeProcess(["--version"], in: folder)
    #expect(try await version.end() == 0)
    for pattern in [#"(?m)^slime \d+\.\d+\.\d+$"#, #"(?m)^libtorch 2\.11\.0"#, #"(?m)^Swift \d+\.\d+"#] {
      #expect(version.output.range(of: pattern, options: .regularExpression) != nil, "\(version.output)")
    }
    let bench = try SlimeProcess(["bench"], in: folder)
    #expect(try await bench.end() == 0)
    #expect(["ops", "tokenizer", "memory"].allSatisfy(bench.output.contains), "\(bench.output)")
  }

  private static func expectRefusal(_ line: String, _ words: [String], _ folder: URL) async throws {
    let run = try SlimeProcess(line.split(separator: " ").map(String.init), in: folder)
    let code = try await run.end()
    #expect(code == 2, "slime \(line): \(run.errors)")
    let sentences = run.errors.split(separator: "\n")
    #expect(sentences.count == 1 && sentences.first?.hasPrefix("slime: ") == true, "slime \(line): \(run.errors)")
    for word in words { #expect(run.errors.contains(word), "slime \(line): \(run.errors) without \(word)") }
  }

  private static func prepare(_ folder: URL) throws {
    let files = FileManager.default
    func path(_ name: String) -> URL { folder.appendingPathComponent(name) }
    try writeTinyModel(to: path("model"))
    for copy in ["cut", "unknown", "bad-tokenizer"] { try files.copyItem(at: path("model"), to: path(copy)) }
    let weights = try Data(contentsOf: path("model/model.safetensors"))
    try weights.prefix(weights.count / 2).write(to: path("cut/model.safetensors"))
    let config = try String(contentsOf: path("model/config.json"), encoding: .utf8)
    try Data(config.replacingOccurrences(of: "qwen3", with: "mamba").utf8).write(to: path("unknown/config.json"))
    try Data("{".utf8).write(to: path("bad-tokenizer/tokenizer.json"))
    let row = #"{"prompt":"1+1=","label":"2"}"#
    try Data("\(row)\n\(row)\n".utf8).write(to: path("data.jsonl"))
    try Data("\(row)\n{\"prompt\":\n".utf8).write(to: path("broken.jsonl"))
    try Data("{\"tokens\":[1,2,3]}\n".utf8).write(to: path("tokens.jsonl"))
  }
}
