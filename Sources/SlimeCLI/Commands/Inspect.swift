import Orchestration

extension Command {
  static let inspect = Command(
    name: "inspect", summary: "what is understood of a Hugging Face folder, and what can be done with it",
    usage: "slime inspect FOLDER [--json]",
    notes: """
      Architecture, parameters, weight files, tokenizer, chat template, memory of training and serving, and the sizes that the
      model can be divided by. A config.json is enough; of weights only the headers are read, and checked.
      """,
    flags: FlagSet<InspectConfiguration>(
      [
        (
          "Inspect",
          [
            .toggle("json", \.json, "print JSON; memory is in bytes"),
            .option("custom-model-provider-path", \.modelProvider, "NAME", "library (FILE.so) or registered name of what builds the model"),
          ]
        )
      ], positional: .option("folder", \.folder, "FOLDER", "the model's folder")), configuration: InspectConfiguration()
  ) { configuration in
    try configuration.validate()
    try Inspection.run(configuration)
  }
}
