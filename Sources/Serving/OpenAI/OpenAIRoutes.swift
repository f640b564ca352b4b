import Hummingbird
import Inference
import JSON

extension ServerState {
  func addOpenAIRoutes(to router: Router<ServingContext>) {
    router.post("v1/completions") { try await completions($0, $1) }
    router.post("v1/chat/completions") { try await chatCompletions($0, $1) }
    router.get("v1/models") { _, _ in
      Response(json: ["object": "list", "data": [model(try await engine.status())]])
    }
    router.get("v1/models/**") { _, context in
      let status = try await engine.status()
      let name = context.parameters.getCatchAll().joined(separator: "/")
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
}
