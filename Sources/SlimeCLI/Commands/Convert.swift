import Orchestration

extension ConvertConfiguration {
  package static let flags = FlagSet<Self>([
    (
      "Convert",
      [
        .option("hf-checkpoint", \.hfCheckpoint, "FOLDER", "Hugging Face folder of the model, with its config.json (required)"),
        .option("save", \.save, "FOLDER", "write its weights here, in torch_dist layout"),
        .option("load", \.load, "FOLDER", "take the weights of the last checkpoint in this folder of torch_dist checkpoints"),
        .option("save-hf", \.saveHF, "FOLDER", "write those, or --hf-checkpoint's, here, as a Hugging Face folder"),
        .option(
          "quantization", \.quantization,
          "how --save-hf has linear weights: fp8 in blocks of 128 x 128, or as plain numbers (unquant)"),
      ]
    )
  ])
}

extension Command {
  static let convert = Command(
    name: "convert", summary: "between Hugging Face folders, torch_dist checkpoints and FP8",
    usage: """
      slime convert --hf-checkpoint FOLDER --save FOLDER
             slime convert --hf-checkpoint FOLDER --load FOLDER --save-hf FOLDER [--quantization fp8]
             slime convert --hf-checkpoint FOLDER --save-hf FOLDER --quantization fp8|unquant
      """,
    notes: "Training needs no conversion: --hf-checkpoint takes the Hugging Face folder as it is.",
    flags: ConvertConfiguration.flags, configuration: ConvertConfiguration()
  ) { configuration in
    try configuration.validate()
    try Conversion.run(configuration)
  }
}
