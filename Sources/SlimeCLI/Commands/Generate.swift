import Orchestration

extension GenerateConfiguration {
  package static let flags = FlagSet<Self>([
    (
      "Generate",
      [
        .option("hf-checkpoint", \.hfCheckpoint, "FOLDER", "Hugging Face folder of the model (required)"),
        .option("prompt", \.prompt, "TEXT", "text to continue (required)"),
        .toggle("chat", \.chat, "the prompt is a user's message: put it into the chat template"),
        .toggle("json", \.json, "print what the server's /generate would answer"),
        .option("max-new-tokens", \.maxNewTokens, "longest response"),
        .option("temperature", \.temperature, "sampling temperature; 0 is greedy"),
        .option("top-p", \.topP, "sample from the most likely tokens of this total probability"),
        .option("top-k", \.topK, "sample from this many of the most likely tokens; -1: all"),
        .option("seed", \.seed, "makes the response repeatable; default a new one each time"),
        .option("custom-model-provider-path", \.modelProvider, "NAME", "library (FILE.so) or registered name of what builds the model"),
        .option("device", \.device, "where the model runs"),
        .option("dtype", \.dtype, "precision; default float32 on cpu, bfloat16 on cuda"),
      ]
    )
  ])
}

extension Command {
  static let generate = Command(
    name: "generate", summary: "continue one prompt",
    usage: "slime generate --hf-checkpoint FOLDER --prompt TEXT [flags]",
    flags: GenerateConfiguration.flags, configuration: GenerateConfiguration()
  ) { configuration in
    try configuration.validate()
    try await Run.generate(configuration)
  }
}
