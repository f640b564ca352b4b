import Foundation
import Orchestration
import SlimeCLI
import TestSupport
import Testing

private func parse(_ line: String) throws(ConfigurationError) -> TrainConfiguration {
  var configuration = TrainConfiguration()
  try TrainConfiguration.flags.parse(line.split(separator: " ").map(String.init), into: &configuration)
  return configuration
}

private func complaint(_ line: String) -> String {
  do throws(ConfigurationError) {
    _ = try parse(line)
    return "accepted"
  } catch {
    return error.description
  }
}

@Suite struct TrainFlagsTests {
  @Test func everyFlagOfSlimeIsKnown() throws {
    let known = Set(TrainConfiguration.flags.names + UnsupportedFlags.train.names + ArchitectureFlag.all.map(\.name))
    let flags = try String(contentsOf: fixture("cli/slime-flags.txt"), encoding: .utf8).split(separator: "\n").map(String.init)
    #expect(flags.count > 200)
    #expect(flags.filter { !known.contains($0) } == [])
  }

  @Test func noFlagIsBothSupportedAndNot() {
    let supported = TrainConfiguration.flags.names + ArchitectureFlag.all.map(\.name)
    #expect(Set(supported).count == supported.count)
    #expect(Set(UnsupportedFlags.train.names).count == UnsupportedFlags.train.names.count)
    #expect(Set(supported).intersection(UnsupportedFlags.train.names) == [])
  }

  @Test func valuesFollowOrAreAttached() throws {
    let configuration = try parse(
      "--lr 1e-5 --rollout-top-k -1 --eps-clip=0.3 --kl-loss-type low_var_kl --colocate --device=cuda --load dir")
    #expect(configuration.optimizer.learningRate == 1e-5)
    #expect(configuration.rollout.topK == -1)
    #expect(configuration.algorithm.clip == 0.3)
    #expect(configuration.algorithm.klLossType == .lowVariance)
    #expect(configuration.cluster.colocate)
    #expect(configuration.backend.device == .cuda)
    #expect(configuration.checkpoint.load == "dir")
  }

  @Test func listsGoUpToTheNextFlag() throws {
    let configuration = try parse(
      "--rollout-stop a -b --rollout-stop-token-ids 1 2 --eval-prompt-data aime x.jsonl math y.jsonl@[0:9] --seed 3")
    #expect(configuration.rollout.stop == ["a", "-b"])
    #expect(configuration.rollout.stopTokenIDs == [1, 2])
    #expect(configuration.eval.datasets == [EvalDataset(name: "aime", path: "x.jsonl"), EvalDataset(name: "math", path: "y.jsonl@[0:9]")])
    #expect(configuration.optimizer.seed == 3)
  }

  @Test func enginesMayBeQuantised() throws {
    let engine = try parse("--sglang-quantization fp8 --sglang-kv-cache-dtype fp8_e4m3").engine
    #expect(engine.quantization == .fp8 && engine.kvCacheType.tensorType == .float8e4m3)
    #expect(try parse("--sglang-kv-cache-dtype auto").engine.kvCacheType.tensorType == nil)
    #expect(complaint("--sglang-kv-cache-dtype fp8_e5m2").contains("one of auto, bfloat16, bf16, fp8_e4m3, not 'fp8_e5m2'"))
    #expect(complaint("--sglang-quantization awq").contains("one of fp8, unquant, not 'awq'"))
  }

  @Test func typesOfTheOptimizerAreMegatrons() throws {
    let optimizer = try parse(
      "--use-precision-aware-optimizer --main-grads-dtype bf16 --exp-avg-dtype bf16 --exp-avg-sq-dtype fp32"
    ).optimizer
    let precision = try optimizer.precision(.bfloat16)
    #expect(precision.keepsRemainders && precision.gradients == .bfloat16)
    #expect(precision.firstMoments == .bfloat16 && precision.secondMoments == .float32)
    #expect(try parse("--accumulate-allreduce-grads-in-fp32").optimizer.precision(.float32) == .init())
  }

  @Test func theLastOfAFlagGivenTwiceCounts() throws {
    #expect(try parse("--lr 1 --lr 2").optimizer.learningRate == 2)
    #expect(try parse("--rollout-stop a b --rollout-stop c").rollout.stop == ["c"])
  }

  @Test func switchesThatSayNo() throws {
    let configuration = try parse("--disable-grpo-std-normalization --no-offload-train --bf16")
    #expect(!configuration.algorithm.normalizeRewardsByDeviation)
    #expect(configuration.backend.dtype == .bfloat16)
    #expect(configuration.cluster.offloadsTrainer == false && configuration.cluster.offloadsEngines == nil)
    let shared = try parse("--colocate --device cuda --offload").cluster
    #expect(shared.offloadsTrainer == true && shared.offloadsEngines == true)
    #expect(complaint("--offload --no-offload-rollout").contains("--no-offload-rollout contradicts"))
  }

  @Test(arguments: [
    ("--lr", "--lr needs a value"), ("--lr --seed 1", "--lr needs a value"), ("--lr fast", "--lr takes a number, not 'fast'"),
    ("--seed 1.5", "--seed takes an integer, not '1.5'"), ("--colocate=1", "--colocate is a switch"),
    ("--device tpu", "--device takes one of cpu, cuda, not 'tpu'"), ("word", "'word' belongs to no flag"),
    ("--rollout-stop", "--rollout-stop needs at least one value"), ("--eval-prompt-data name", "pairs of name and path"), ("--eval-prompt-data a x a y", "twice"),
    ("--fp16 --bf16", "--bf16 contradicts --dtype float16"), ("--lr nan", "--lr takes a number"),
    ("--learning-rat 1", "there is no flag --learning-rat"), ("--rolout-batch-size 1", "did you mean --rollout-batch-size?"),
    ("--sglang-mem-fraction-statik 1", "did you mean --sglang-mem-fraction-static?"),
    ("--tensor-model-paralel-size 1", "did you mean --tensor-model-parallel-size?"),
    ("--advantage-estimator vpg", "--advantage-estimator takes one of grpo"),
    ("--exp-avg-dtype fp8", "--exp-avg-dtype takes one of fp32, bf16, not 'fp8'"),
  ]) func mistakesAreNamed(_ line: String, _ words: String) {
    #expect(complaint(line).contains(words), "\(complaint(line))")
  }

  @Test(arguments: [
    "--cp-comm-type p2p", "--attention-dropout 0.0",
    "--hidden-dropout 0 --accumulate-allreduce-grads-in-fp32", "--attention-backend flash", "--sglang-pp-size 1",
    "--train-env-vars {} --update-weight-mode full", "--main-params-dtype fp32 --use-distributed-optimizer", "--num-layers 2 --swiglu --rotary-base 1e4",
  ]) func whatAsksForWhatHappensAnywayIsAccepted(_ line: String) throws {
    _ = try parse(line)
  }

  @Test(arguments: [
    ("--recompute-activations", "--recompute-activations is not supported yet by slime train"),
    ("--main-params-dtype fp16", "trained weights are fp32"), ("--grad-reduce-in-bf16", "--main-grads-dtype bf16"),
    ("--attention-dropout 0.1", "leave it out"), ("--use-wandb", "metrics.jsonl"),
    ("--sglang-enable-ep-moe", "is not supported yet by this engine"), ("--sglang-never-heard-of 1", "not supported yet"),
    ("--router-policy random", "engines are reached directly"), ("--custom-rm-path a.b", "functions of one's own"),
  ]) func unsupportedFlagsSayWhatToDo(_ line: String, _ words: String) {
    #expect(complaint(line).contains(words), "\(complaint(line))")
  }

  @Test func predictionLayersAreTrained() throws {
    let configuration = try parse("--mtp-num-layers 1 --enable-mtp-training --mtp-loss-scaling-factor 0.1")
    #expect(configuration.algorithm.trainsPredictionLayers && configuration.algorithm.predictionLossScale == 0.1)
    #expect(configuration.architecture == [.init(flag: "mtp-num-layers", value: "1")])
  }

  @Test func architectureFlagsAreKept() throws {
    #expect(
      try parse("--num-layers 28 --swiglu --hidden-size=64").architecture
        == [.init(flag: "num-layers", value: "28"), .init(flag: "swiglu"), .init(flag: "hidden-size", value: "64")])
  }

  @Test func helpShowsEveryFlagOnALineOfItsOwn() {
    let lines = TrainConfiguration.flags.help(TrainConfiguration()).split(separator: "\n")
    for name in TrainConfiguration.flags.names {
      #expect(lines.filter { $0.hasPrefix("  --\(name) ") }.count == 1, "\(name)")
    }
    #expect(lines.allSatisfy { $0.count <= 130 }, "\(lines.filter { $0.count > 130 })")
    #expect(lines.contains { $0.hasPrefix("  --lr X") && $0.hasSuffix("peak learning rate [1e-06]") })
  }
}

@Suite struct OtherFlagsTests {
  @Test func scoreHasTheFlagsOfTheTrainer() throws {
    var configuration = ScoreConfiguration()
    try ScoreConfiguration.flags.parse(
      ["--hf-checkpoint", "m", "--train-backend", "fsdp", "--actor-num-gpus-per-node", "4", "--max-tokens-per-gpu", "64",
        "--tensor-model-parallel-size", "1", "--dtype", "float32"], into: &configuration)
    #expect(configuration.cluster.trainerRanks == 4)
    #expect(configuration.backend.maxTokensPerGPU == 64)
  }

  @Test func scoreWithoutAFileFails() throws {
    try withTemporaryFolder { folder in
      var configuration = ScoreConfiguration()
      (configuration.hfCheckpoint, configuration.input, configuration.output) = (folder.path, folder.path + "/in.jsonl", "out")
      configuration.backend.maxTokensPerGPU = 64
      #expect(throws: ConfigurationError("--hf-checkpoint \(folder.path): there is no file \(folder.path)/config.json")) {
        try configuration.validate()
      }
      try Data("{\"num_hidden_layers\": 2}".utf8).write(to: folder.appendingPathComponent("config.json"))
      #expect(throws: ConfigurationError("--input \(configuration.input): there is no file \(configuration.input)")) {
        try configuration.validate()
      }
      try Data().write(to: URL(fileURLWithPath: configuration.input))
      try configuration.validate()
      configuration.architecture = [ArchitectureClaim(flag: "num-layers", value: "3")]
      #expect(throws: ConfigurationError.self) { try configuration.validate() }
    }
  }

  @Test func serveHasTheNamesOfSGLang() throws {
    var configuration = ServeConfiguration()
    try ServeConfiguration.flags.parse(
      [
        "--model-path", "m", "--port", "0", "--page-size", "4", "--tp", "2", "--mem-fraction-static", "0.5",
        "--tool-call-parser", "hermes", "--reasoning-parser", "qwen3", "--admin-api-key", "k", "--drain-timeout", "1.5",
        "--incremental-streaming-output",
      ],
      into: &configuration)
    #expect(configuration.toolCallParser == "hermes" && configuration.reasoningParser == "qwen3")
    #expect(configuration.adminAPIKey == "k" && configuration.drainTimeout == 1.5 && configuration.incrementalStreamingOutput)
    #expect(configuration.engine.pageSize == 4 && configuration.engine.tensorParallelSize == 2)
    #expect(configuration.port == 0)
    #expect(configuration.dataParallelSize == 1 && configuration.lora.options == nil)
    try ServeConfiguration.flags.parse(["--dp", "2"], into: &configuration)
    #expect(configuration.dataParallelSize == 2)
    #expect(throws: ConfigurationError.self) { try ServeConfiguration.flags.parse(["--pp-size", "2"], into: &configuration) }
  }

  @Test func serveTakesAdapters() throws {
    func parsed(_ words: [String]) throws -> LoRAConfiguration {
      var configuration = ServeConfiguration()
      try ServeConfiguration.flags.parse(words, into: &configuration)
      return configuration.lora
    }
    let adapters = fixture("lora").path
    let all = try parsed([
      "--lora-paths", "a=\(adapters)/llama3-gqa-all", "\(adapters)/qwen2-attention", "--max-lora-rank", "16",
      "--max-loras-per-batch", "2", "--lora-target-modules", "q_proj", "v_proj",
    ])
    let options = try #require(all.options)
    #expect(options.maxRank == 16 && options.maxPerBatch == 2 && options.targets == ["q_proj", "v_proj"])
    #expect(all.adapters.map(\.name) == ["a", "\(adapters)/qwen2-attention"])
    #expect(all.adapters.map(\.path) == ["\(adapters)/llama3-gqa-all", "\(adapters)/qwen2-attention"])
    let plain = try #require(try parsed(["--enable-lora", "--lora-target-modules", "all"]).options)
    #expect(plain.maxRank == nil && plain.maxPerBatch == 8 && plain.targets == nil)
    for (words, part) in [
      (["--max-lora-rank", "8"], "--max-lora-rank has no effect without --enable-lora"),
      (["--enable-lora", "--max-loras-per-batch", "0"], "--max-loras-per-batch must be at least 1"),
      (["--enable-lora", "--lora-target-modules", "all", "q_proj"], "leave the others out"),
      (["--lora-paths", "a=/x", "a=/y"], "two adapters named a"), (["--lora-paths", "a=/nowhere"], "--lora-paths a=/nowhere"),
    ] {
      var configuration = ServeConfiguration()
      configuration.modelPath = fixture("models/llama3-gqa").path
      configuration.lora = try parsed(words)
      let error = #expect(throws: ConfigurationError.self) { try configuration.validate() }
      #expect(error?.description.contains(part) == true, "\(String(describing: error))")
    }
    #expect(throws: ConfigurationError.self) { _ = try parsed(["--max-loaded-loras", "3"]) }
  }

  @Test func promptsMayBeginWithDashes() throws {
    var configuration = GenerateConfiguration()
    try GenerateConfiguration.flags.parse(["--prompt=--x=1", "--hf-checkpoint", "m"], into: &configuration)
    #expect(configuration.prompt == "--x=1")
  }
}
