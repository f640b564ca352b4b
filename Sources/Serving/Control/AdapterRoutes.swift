import Foundation
import Hummingbird
import Inference
import JSON

/// `/load_lora_adapter`, `/load_lora_adapter_from_tensors` and `/unload_lora_adapter`, while requests run.
extension ServerState {
  func addAdapterRoutes(to router: Router<ServingContext>) {
    adapterRoute("load_lora_adapter", router) { fields, engine in
      try fields.refuse(["pinned", "added_tokens_config"])
      try fields.expectOnly(["lora_name", "lora_path", "pinned", "added_tokens_config"])
      guard let name = try fields.string("lora_name"), let path = try fields.string("lora_path") else {
        throw InvalidRequest("lora_name and lora_path are needed.")
      }
      try await engine.loadAdapter(name, from: URL(fileURLWithPath: path))
    }
    adapterRoute("load_lora_adapter_from_tensors", router) { fields, engine in
      try fields.refuse(["pinned", "added_tokens_config", "expected_checksums"])
      try fields.expectOnly([
        "lora_name", "config_dict", "serialized_named_tensors", "load_format", "checksum", "pinned", "added_tokens_config",
        "expected_checksums",
      ])
      guard let name = try fields.string("lora_name"), let configuration = try fields.object("config_dict") else {
        throw InvalidRequest("lora_name and config_dict are needed.")
      }
      try await engine.loadAdapter(name, configuration: .object(configuration), tensors: try sentTensors(fields))
    }
    // Answers when the last request with the adapter has ended.
    adapterRoute("unload_lora_adapter", router) { fields, engine in
      try fields.expectOnly(["lora_name", "lora_id"])
      try fields.refuse(["lora_id"])
      guard let name = try fields.string("lora_name") else { throw InvalidRequest("lora_name is needed.") }
      try await engine.unloadAdapter(name)
    }
  }

  /// A route that answers `{"success": …, "error_message": …, "loaded_adapters": {name: path}}`, with 400 where it failed.
  private func adapterRoute(
    _ path: RouterPath, _ router: Router<ServingContext>,
    _ action: @escaping @Sendable (Fields, any AdapterEngine) async throws -> Void
  ) {
    router.post(path) { request, _ in
      let body = try await body(request, limit: configuration.maxWeightBytes)
      let fields = try Fields(JSONValue(parsing: String(buffer: body)))
      var message = ""
      do {
        guard let engine = engine as? any AdapterEngine else { throw InvalidRequest("This server's engine takes no adapters.") }
        try await action(fields, engine)
      } catch { message = "\(error)" }
      let loaded = try await engine.status().adapters ?? []
      return Response(
        json: [
          "success": .bool(message.isEmpty), "error_message": .string(message),
          "loaded_adapters": .object(JSONObject(loaded.map { ($0.name, $0.path.map(JSONValue.string) ?? .null) })),
        ], status: message.isEmpty ? .ok : .badRequest)
    }
  }
}
