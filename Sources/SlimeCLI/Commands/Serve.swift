import Orchestration
import Serving

extension ServeConfiguration {
  package static let flags = FlagSet<Self>(
    [
      (
        "Server",
        [
          .option("model-path", \.modelPath, "FOLDER", "Hugging Face folder of the model (required)"),
          .option("tokenizer-path", \.tokenizerPath, "FOLDER", "its tokenizer; default --model-path"),
          .option("served-model-name", \.servedModelName, "NAME", "its name in /v1/models; default --model-path"),
          .option("host", \.host, "ADDRESS", "address to listen on"),
          .option("port", \.port, "port to listen on; 0: any free one"),
          .option("api-key", \.apiKey, "KEY", "bearer token that requests must carry; default none"),
          .option("admin-api-key", \.adminAPIKey, "KEY", "the same for routes that control the server; default --api-key"),
          .option(
            "tool-call-parser", \.toolCallParser, "NAME",
            "how the model writes calls of functions; default: calls stay text; "
              + ToolCallFormat.allCases.map(\.rawValue).joined(separator: ", ")),
          .option(
            "reasoning-parser", \.reasoningParser, "NAME",
            "how the model separates its thoughts; default: they stay text; "
              + ReasoningFormat.allCases.map(\.rawValue).joined(separator: ", ")),
          .toggle(
            "incremental-streaming-output", \.incrementalStreamingOutput, "streams of /generate carry only what is new"),
          .option("drain-timeout", \.drainTimeout, "SECONDS", "that running requests may go on when the server is to stop"),
          .option("custom-model-provider-path", \.modelProvider, "NAME", "library (FILE.so) or registered name of what builds the model"),
          .option("random-seed", \.randomSeed, "seed of sampling"),
          .option("log-level", \.logLevel, "least severe messages to print"),
        ]
      ),
      (
        "Engine",
        [
          .option("device", \.device, "where the model runs"),
          .option("dtype", \.dtype, "precision; default float32 on cpu, bfloat16 on cuda"),
          .option("tp-size", \.engine.tensorParallelSize, "ranks of the engine, which split each layer")
            .also("tensor-parallel-size", "tp"),
          .option("dp-size", \.dataParallelSize, "engines that share the requests; on GPUs, each on the next of them")
            .also("data-parallel-size", "dp"),
        ] + EngineConfiguration.flags().map { $0.lifted(\.engine) }
      ),
      ("LoRA adapters", LoRAConfiguration.flags.map { $0.lifted(\.lora) }),
    ],
    unsupported: .serve)
}

extension Command {
  static let serve = Command(
    name: "serve", summary: "serve a model over SGLang's HTTP API",
    usage: "slime serve --model-path FOLDER [--port N] [flags]",
    flags: ServeConfiguration.flags, configuration: ServeConfiguration()
  ) { configuration in
    try configuration.validate()
    try await Run.serve(configuration)
  }
}
