import Foundation
import Orchestration
import SlimeCLI
import Testing

/// The launches of `Examples/models`: each is one that `slime train` takes, of a model with as many parameters as its makers
/// say, and fits on H200s.
@Suite struct ExampleModelsTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("Examples/models")

  /// Billions, as the model cards and the files' headers have them; without layers that predict tokens further on, and of Gemma
  /// 3 the language model.
  private static let published: [String: Double] = [
    "DeepSeek-V2-Lite-Chat": 15.71, "DeepSeek-V3": 671.03, "GLM-4-9B-0414": 9.40, "GLM-4.5": 352.80,
    "GLM-4.5-Air": 106.85, "Kimi-K2-Instruct": 1026.41, "Llama-2-7b-hf": 6.74, "Llama-3.1-8B-Instruct": 8.03,
    "Llama-3.2-3B-Instruct": 3.21, "Meta-Llama-3-8B-Instruct": 8.03, "MiMo-7B-RL": 7.62, "MiniMax-M2": 228.69,
    "Mistral-7B-Instruct-v0.3": 7.25, "Mixtral-8x7B-Instruct-v0.1": 46.70, "Moonlight-16B-A3B-Instruct": 15.96,
    "Phi-3-mini-4k-instruct": 3.82, "Qwen2-57B-A14B-Instruct": 57.41, "Qwen2.5-7B-Instruct": 7.62,
    "Qwen2.5-VL-7B-Instruct": 8.29, "Qwen3-235B-A22B": 235.09, "Qwen3-30B-A3B": 30.53, "Qwen3-4B": 4.02, "Qwen3-8B": 8.19,
    "Qwen3-Next-80B-A3B-Instruct": 79.67, "Qwen3-VL-30B-A3B-Instruct": 31.07, "Qwen3-VL-8B-Instruct": 8.77,
    "Qwen3.5-35B-A3B": 35.11, "Qwen3.5-4B": 4.54, "gemma-2-9b-it": 9.24, "gemma-3-12b-it": 11.77, "gemma-3-1b-it": 1.00,
    "gpt-oss-120b": 116.83, "gpt-oss-20b": 20.91, "gpt2": 0.12, "llama-7b": 6.74, "phi-4": 14.66, "pythia-6.9b": 6.86,
  ]

  @Test func everyFolderIsChecked() throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
      .filter { FileManager.default.fileExists(atPath: Self.folder.appendingPathComponent($0 + "/config.json").path) }
    #expect(folders.sorted() == Self.published.keys.sorted())
  }

  @Test(arguments: published.keys.sorted()) func fitsAndIsTaken(_ model: String) throws {
    var configuration = PlanConfiguration()
    try PlanConfiguration.flags.parse(words("plan", model), into: &configuration)
    try configuration.validate()
    let start = ContinuousClock.now
    let plan = try Plan(configuration)
    #expect(ContinuousClock.now - start < .seconds(10))
    #expect(plan.refusal == nil, "\(plan.report)")
    #expect(abs(Double(plan.parameterCount) / 1e9 - Self.published[model]!) < 0.006, "\(plan.parameterCount)")

    var train = TrainConfiguration()
    try TrainConfiguration.flags.parse(words("train", model), into: &train)
    // Runs of several machines are planned, but not started yet; their other flags are those of one.
    let cluster = train.cluster
    (train.cluster.actorNodes, train.cluster.actorGPUsPerNode) = (1, cluster.trainerRanks)
    try train.validate()
    #expect(train.backend.parallel == configuration.train.backend.parallel)
  }

  /// What the script runs `slime` with.
  private func words(_ command: String, _ model: String) throws -> [String] {
    let (process, output) = (Process(), Pipe())
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments = [Self.folder.appendingPathComponent("slime.sh").path, command, model]
    process.environment = ProcessInfo.processInfo.environment.merging(["SLIME": "echo"]) { $1 }
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    let words = text.split(whereSeparator: \.isWhitespace).map(String.init)
    #expect(process.terminationStatus == 0 && words.first == command)
    return Array(words.dropFirst())
  }
}
