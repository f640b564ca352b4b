import Benchmarks
import Checkpoints
import Foundation
import Inference
import JSON
import Orchestration
import Serving
import Tokenization
import Torch

/// Where each command goes on once its configuration is known to be good.
enum Run {
  static func train(_ configuration: TrainConfiguration) async throws { try await TrainingLoop.run(configuration) }

  static func score(_ configuration: ScoreConfiguration) async throws { try await Scoring.run(configuration) }

  static func serve(_ configuration: ServeConfiguration) async throws {
    let toolCalls: ToolCallFormat? = try named(configuration.toolCallParser, "tool-call-parser")
    let reasoning: ReasoningFormat? = try named(configuration.reasoningParser, "reasoning-parser")
    var engines: [Engine] = []
    for rank in 0..<configuration.dataParallelSize {
      engines.append(
        try await engine(
          configuration.modelPath, configuration.engine, dtype: configuration.resolvedDType, device: configuration.device,
          firstDevice: rank * configuration.engine.tensorParallelSize, randomSeed: configuration.randomSeed,
          modelProvider: configuration.modelProvider, tokenizerPath: configuration.tokenizerPath,
          adapters: configuration.lora.options))
    }
    let engine: DataParallelEngine.Member =
      engines.count == 1 ? engines[0] : DataParallelEngine(engines, randomSeed: configuration.randomSeed)
    for adapter in configuration.lora.adapters {
      try await engine.loadAdapter(adapter.name, from: URL(fileURLWithPath: adapter.path))
    }
    let tokenizer = try Tokenizer(folder: URL(fileURLWithPath: configuration.tokenizerPath ?? configuration.modelPath))
    var serving = ServerConfiguration(
      host: configuration.host, port: configuration.port, apiKey: configuration.apiKey,
      servedModelName: configuration.servedModelName)
    serving.adminAPIKey = configuration.adminAPIKey
    (serving.toolCallParser, serving.reasoningParser) = (toolCalls, reasoning)
    serving.incrementalStreamingOutput = configuration.incrementalStreamingOutput
    serving.drainTimeout = .seconds(configuration.drainTimeout)
    serving.arguments = [
      "tokenizer_path": .string(configuration.tokenizerPath ?? configuration.modelPath),
      "device": .string(configuration.device.rawValue), "dtype": .string(configuration.resolvedDType.rawValue),
      "random_seed": .int(configuration.randomSeed), "log_level": .string(configuration.logLevel.rawValue),
      "quantization": configuration.engine.quantization.map { .string($0.rawValue) } ?? .null,
      "kv_cache_dtype": .string(configuration.engine.kvCacheType.rawValue),
      "chunked_prefill_size": configuration.engine.chunkedPrefillSize.map(JSONValue.int) ?? .null,
      "mem_fraction_static": configuration.engine.memFractionStatic.map(JSONValue.double) ?? .null,
      "tp_size": .int(configuration.engine.tensorParallelSize), "ep_size": .int(configuration.engine.expertParallelSize),
      "dp_size": .int(configuration.dataParallelSize), "enable_lora": .bool(configuration.lora.options != nil),
      "max_loras_per_batch": (configuration.lora.options?.maxPerBatch).map(JSONValue.int) ?? .null,
    ]
    serving.device = configuration.device == .cuda ? .cuda(0) : .cpu
    let server = Server(engine: engine, tokenizer: try ModelPromptEncoder(tokenizer), configuration: serving)
    try await server.run { announce("serving \(configuration.modelPath) at http://\(configuration.host):\($0)") }
  }

  /// The parser with a name that a flag gives.
  private static func named<Parser: RawRepresentable<String> & CaseIterable>(_ name: String?, _ flag: String) throws -> Parser? {
    guard let name else { return nil }
    guard let parser = Parser(rawValue: name) else {
      let known = Parser.allCases.map(\.rawValue).joined(separator: ", ")
      throw ConfigurationError("--\(flag) has no parser \(name); there are \(known)")
    }
    return parser
  }

  static func router(_ configuration: RouterConfiguration) async throws {
    try await RouterServer(configuration: configuration).run(
      report: { FileHandle.standardError.write(Data("\($0)\n".utf8)) },
      onReady: { announce("routing at http://\(configuration.host):\($0)") })
  }

  /// Prints a line at once, also where the output is a file or a pipe that somebody waits at.
  @Sendable private static func announce(_ line: String) {
    print(line)
    fflush(nil)
  }

  static func generate(_ configuration: GenerateConfiguration) async throws {
    let engine = try await engine(
      configuration.hfCheckpoint, EngineConfiguration(), dtype: configuration.resolvedDType, device: configuration.device,
      randomSeed: configuration.seed ?? Int.random(in: 0..<1 << 31), modelProvider: configuration.modelProvider)
    let tokenizer = try Tokenizer(folder: URL(fileURLWithPath: configuration.hfCheckpoint))
    let encoder = try ModelPromptEncoder(tokenizer)
    let tokens = configuration.chat
      ? try encoder.encode(Serving.Conversation(messages: [["role": "user", "content": .string(configuration.prompt)]]))
      : encoder.encode(configuration.prompt)
    var sampling = SamplingParameters()
    sampling.maxNewTokens = configuration.maxNewTokens
    (sampling.temperature, sampling.topP, sampling.topK) = (configuration.temperature, configuration.topP, configuration.topK)
    sampling.samplingSeed = configuration.seed
    let request = GenerateRequest(
      id: "generate", tokens: tokens, sampling: sampling, returnLogProbs: configuration.json)
    if configuration.json {
      print(generateResponse(try await engine.generate(request), to: request))
      return
    }
    var printed = ""
    for try await output in engine.stream(request) where output.text.hasPrefix(printed) {
      FileHandle.standardOutput.write(Data(output.text.dropFirst(printed.count).utf8))
      printed = output.text
    }
    print()
  }

  @Sendable static func demo(_ configuration: DemoConfiguration) async throws {
    try await Demo.run(configuration)
  }

  /// What runs `transformers` on a benchmark's work; nil: nothing is compared.
  private static func interpreter(_ configuration: BenchConfiguration) throws -> URL? {
    if let python = configuration.python { return URL(fileURLWithPath: python) }
    guard let comparison = configuration.comparison else { return nil }
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    let found = folders.map { URL(fileURLWithPath: "\($0)/python3") }.first {
      FileManager.default.isExecutableFile(atPath: $0.path)
    }
    guard let found else {
      throw ConfigurationError(
        "--compare \(comparison.rawValue) needs python3, which is not on the PATH; name an interpreter with --python")
    }
    return found
  }

  @Sendable static func bench(_ configuration: BenchConfiguration) async throws {
    switch configuration.subject {
    case nil:
      print("usage: slime bench SUBJECT [flags]\n\n" + Command.benchSubjects)
    case .tokenizer:
      guard let folder = configuration.hfCheckpoint else {
        throw ConfigurationError("--hf-checkpoint is required: the folder of the tokenizer to time")
      }
      let rows = try TokenizerBenchmark.run(
        folder: URL(fileURLWithPath: folder), files: configuration.texts.map { URL(fileURLWithPath: $0) },
        python: configuration.python.map { URL(fileURLWithPath: $0) })
      print(configuration.json ? try json(rows) : TokenizerBenchmark.table(rows))
    case .load:
      var work = LoadBenchmark.Work()
      work.bytes = Int(configuration.gigabytes * 1e9)
      if let folder = configuration.temporaryFolder { work.temporaryFolder = URL(fileURLWithPath: folder) }
      let rows = try await onThread { [work] in try LoadBenchmark.run(work) }
      print(configuration.json ? try json(rows) : LoadBenchmark.table(rows))
    case .memory:
      let rows = try await MemoryBenchmark.run()
      print(configuration.json ? try json(rows) : MemoryBenchmark.table(rows))
    case .soak:
      let report = try await SoakBenchmark.run(requests: configuration.requests ?? 20_000)
      print(configuration.json ? try json(report) : SoakBenchmark.lines(report))
    case .kernels:
      let rows = try KernelsBenchmark.run()
      print(configuration.json ? try json(rows) : KernelsBenchmark.table(rows))
    case .rollout:
      var work = RolloutBenchmark.Work()
      work.checkpoint = configuration.hfCheckpoint.map { URL(fileURLWithPath: $0) }
      work.requests = configuration.requests ?? work.requests
      work.inputTokens = configuration.lengths(upTo: configuration.randomInputLen)
      work.outputTokens = configuration.lengths(upTo: configuration.randomOutputLen)
      (work.device, work.dtype) = (configuration.device == .cuda ? .cuda(0) : .cpu, configuration.dtype?.tensorType)
      (work.isFloat8, work.isDeterministic) = (configuration.isFloat8, configuration.isDeterministic)
      work.python = try interpreter(configuration)
      let rows = try await RolloutBenchmark.run(work)
      print(configuration.json ? try json(rows) : RolloutBenchmark.table(rows))
    case .train:
      var work = TrainBenchmark.Work()
      work.checkpoint = configuration.hfCheckpoint.map { URL(fileURLWithPath: $0) }
      (work.sequences, work.sequenceLength) = (configuration.microBatchSize, configuration.seqLength)
      (work.usesFSDP, work.attention) = (configuration.trainBackend == .fsdp, configuration.attention)
      work.device = configuration.device == .cuda ? .cuda(0) : .cpu
      let dtype = configuration.dtype ?? (configuration.device == .cuda ? .bfloat16 : .float32)
      (work.dtype, work.precision) = (dtype.tensorType, try configuration.optimizer.precision(dtype))
      work.python = try interpreter(configuration)
      let rows = try TrainBenchmark.run(work)
      print(configuration.json ? try json(rows) : TrainBenchmark.table(rows))
    case .update:
      var work = UpdateBenchmark.Work()
      work.checkpoint = configuration.hfCheckpoint.map { URL(fileURLWithPath: $0) }
      work.device = configuration.device == .cuda ? .cuda(0) : .cpu
      work.dtype = configuration.dtype?.tensorType ?? (configuration.device == .cuda ? .bfloat16 : .float32)
      work.isFloat8 = configuration.isFloat8
      if !configuration.updateKinds.isEmpty { work.kinds = configuration.updateKinds }
      let rows = try await UpdateBenchmark.run(work)
      print(configuration.json ? try json(rows) : UpdateBenchmark.table(rows))
    case .step:
      var work = StepBenchmark.Work()
      work.checkpoint = configuration.hfCheckpoint.map { URL(fileURLWithPath: $0) }
      (work.device, work.dtype, work.backend) = (configuration.device, configuration.dtype, configuration.trainBackend)
      (work.prompts, work.samplesPerPrompt, work.steps) = (configuration.promptCount, configuration.samplesPerPrompt, configuration.steps)
      (work.responseLength, work.tokensPerMicroBatch) = (configuration.randomOutputLen, configuration.seqLength)
      let rows = try await StepBenchmark.run(work)
      print(configuration.json ? try json(rows) : StepBenchmark.table(rows))
    case .ops:
      let rows = try OperatorsBenchmark.run()
      print(configuration.json ? try json(rows) : OperatorsBenchmark.table(rows))
    }
  }

  private static func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  @Sendable static func worker(_ configuration: WorkerConfiguration) async throws {
    try await WorkerRole.serve(ProcessName(configuration.role, configuration.rank))
  }

  /// Loads an engine on a thread of its own: loading blocks.
  private static func engine(
    _ path: String, _ limits: EngineConfiguration, dtype: ComputeDType, device: ComputeDevice, firstDevice: Int = 0,
    randomSeed: Int, modelProvider: String?, tokenizerPath: String? = nil, adapters: AdapterOptions? = nil
  ) async throws -> Engine {
    try await withCheckedThrowingContinuation { continuation in
      let thread = Thread {
        continuation.resume(
          with: Result {
            if device == .cuda { try Runtime.openCUDA() }
            let url = URL(fileURLWithPath: path)
            var limits = limits
            if device == .cuda { limits.memFractionStatic = limits.memFractionStatic ?? EngineConfiguration.memoryFraction }
            var options = try limits.options(
              dtype: dtype.tensorType, device: device == .cuda ? .cuda(firstDevice) : .cpu, randomSeed: randomSeed)
            options.modelProvider = modelProvider
            options.adapters = adapters
            return try Engine(
              folder: HuggingFaceFolder(url),
              tokenizer: Tokenizer(folder: tokenizerPath.map { URL(fileURLWithPath: $0) } ?? url), options: options)
          })
      }
      thread.start()
    }
  }
}
