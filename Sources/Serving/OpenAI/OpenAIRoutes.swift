import Hummingbird
import Inference
import JSON

extension ServerState {
  func addOpenAIRoutes(to router: Router<ServingContext>) {
    router.post("v1/completions") { try await completions($0, $1) }
    router.post("v1/chat/completions") { try await chatCompletions($0, $1) }
    router.get("v1/models") { _, _ in
      let status = try await engine.status()
      let adapters = (status.adapters ?? []).map { model($0, status) }
      return Response(json: ["object": "list", "data": .array([model(status)] + adapters)])
    }
    router.get("v1/models/**") { _, context in
      let status = try await engine.status()
      let name = context.parameters.getCatchAll().joined(separator: "/")
      if let adapter = status.adapters?.first(where: { $0.name == name }) { return Response(json: model(adapter, status)) }
      // A model named by an absolute path comes without its first slash.
      guard [name, "/" + name].contains(modelName(status)) else {
        throw StatusError(status: .notFound, message: "There is no model \(name); this server has \(modelName(status)).")
      }
      return Response(json: model(status))
    }
  }

  private func model(_ status: EngineStatus) -> JSONValue {
    let name = JSONValue.string(modelName(status))
    return [
      "id": name, "object": "model", "created": .int(Int(startTime.timeIntervalSince1970)), "owned_by": "slime",
      "root": name, "parent": nil, "max_model_len": .int(status.contextLength),
    ]
  }

  /// An adapter as a model of its own, whose parent is the one that it changes.
  private func model(_ adapter: AdapterDescription, _ status: EngineStatus) -> JSONValue {
    [
      "id": .string(adapter.name), "object": "model", "created": .int(Int(startTime.timeIntervalSince1970)),
      "owned_by": "slime", "root": .string(adapter.path ?? adapter.name), "parent": .string(modelName(status)),
      "max_model_len": .int(status.contextLength),
    ]
  }

  /// The adapter that a request names: in `lora_path`, or in `model` as `model:adapter` or by its own name.
  func adapter(_ options: OpenAIOptions, _ status: EngineStatus) throws(InvalidRequest) -> String? {
    guard let named = options.model.flatMap({ adapter(inModel: $0, status) }) else { return options.adapter }
    guard options.adapter == nil || options.adapter == named else {
      throw InvalidRequest("model names the adapter \(named) and lora_path \(options.adapter!); give one of them.")
    }
    return named
  }

  private func adapter(inModel model: String, _ status: EngineStatus) -> String? {
    let base = modelName(status)
    if model == base { return nil }
    if model.hasPrefix(base + ":") { return String(model.dropFirst(base.count + 1)) }
    // Elsewhere any name of a model is taken.
    guard let adapters = status.adapters else { return nil }
    if adapters.contains(where: { $0.name == model }) { return model }
    return model.contains(":") ? String(model[model.lastIndex(of: ":")!...].dropFirst()) : nil
  }
}
