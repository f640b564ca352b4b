import Foundation
import Hummingbird
import Inference
import JSON
import Torch
import WeightSync

extension ServerState {
  private static let common: Set<String> = [
    "flush_cache", "abort_all_requests", "retract_requests", "weight_version", "selector", "disable_draft_model",
    "torch_empty_cache",
  ]

  func addWeightRoutes(to router: Router<ServingContext>) {
    control("begin_weight_update", router) { fields, engine in
      try fields.expectOnly(["selector"])
      try checkSelector(fields)
      try await weights.begin(engine)
      return ["message": "Success"]
    }
    control("end_weight_update", router) { fields, engine in
      try fields.expectOnly(["weight_version", "retract_requests"])
      guard await engine.hasOpenWeightUpdate else {
        throw InvalidRequest("no weight-update session is open; call begin_weight_update() first")
      }
      try await weights.end(
        engine, version: try fields.string("weight_version"), retracts: try fields.bool("retract_requests") ?? false)
      return ["message": "Success"]
    }
    control("update_weights_from_tensor", router) { fields, engine in
      try fields.expectOnly(Self.common.union(["serialized_named_tensors", "load_format", "checksum"]))
      let installation = try installation(fields)
      let bucket = try sentTensors(fields)
      let isInForce = try await weights.take(bucket, installation, engine)
      return ["message": .string("Success" + Self.suffix(installation, isInForce))]
    }
    control("update_weights_from_disk", router) { fields, engine in
      try fields.expectOnly(
        Self.common.union([
          "model_path", "load_format", "is_async", "keep_pause", "recapture_cuda_graph", "token_step", "manifest",
        ]))
      try fields.refuse(["manifest"])
      guard let path = try fields.string("model_path") else { throw InvalidRequest("model_path is missing.") }
      var installation = try installation(fields)
      installation.keepsPaused = try fields.bool("keep_pause") ?? false
      let paused = try await engine.replaceWeights(from: URL(fileURLWithPath: path), installation)
      let message = "Succeeded to update model weights." + Self.suffix(installation, true)
      return ["message": .string(message), "num_paused_requests": .int(paused)]
    }
    control("update_weight_version", router) { fields, engine in
      try fields.expectOnly(["new_version", "abort_all_requests"])
      guard let version = try fields.string("new_version") else { throw InvalidRequest("new_version is missing.") }
      try await engine.setWeightVersion(version, abortsRequests: fields.bool("abort_all_requests") ?? true)
      return ["message": .string("Weight version updated to \(version)"), "new_version": .string(version)]
    }
    // Weights are used as they come: nothing has to be undone before an update, nor packed after it.
    control("post_process_weights", router) { fields, _ in
      try fields.expectOnly(["restore_weights_before_load", "post_process_quantization"])
      return ["message": "Success"]
    }
    addGroupRoutes(to: router)
    addPullRoutes(to: router)
    addWeightCheckRoutes(to: router)
  }

  /// A route that answers `{"success": …, "message": …}`, with 400 where it failed.
  func control(
    _ path: RouterPath, _ router: Router<ServingContext>,
    _ body: @escaping @Sendable (Fields, any UpdatableEngine) async throws -> JSONObject
  ) {
    router.post(path) { request, _ in
      let value = try JSONValue(parsing: String(buffer: try await self.body(request, limit: configuration.maxWeightBytes)))
      do {
        var answer = try await body(Fields(value), try updatable())
        answer["success"] = true
        return Response(json: .object(answer))
      } catch {
        return Response(json: ["success": false, "message": .string("\(error)")], status: .badRequest)
      }
    }
  }

  func updatable() throws -> any UpdatableEngine {
    guard let engine = engine as? any UpdatableEngine else {
      throw InvalidRequest("This server's engine has no weights of its own that could be replaced.")
    }
    return engine
  }

  /// What all updates may say. `retract_requests` is ours: requests in flight compute their KV again with the new weights. The cache is always rid of what older weights computed, whatever `flush_cache` says.
  func installation(_ fields: Fields) throws -> WeightInstallation {
    _ = try fields.bool("flush_cache")
    try checkSelector(fields)
    return WeightInstallation(
      version: try fields.string("weight_version"), abortsRequests: try fields.bool("abort_all_requests") ?? false,
      retractsRequests: try fields.bool("retract_requests") ?? false)
  }

  private func checkSelector(_ fields: Fields) throws {
    let selector = try fields.string("selector")
    guard selector == nil || selector == "target" || selector == "all" else {
      throw InvalidRequest("selector must be target or all, got \(selector!): this engine has no draft model.")
    }
  }

  /// The tensors that a request brings.
  func sentTensors(_ fields: Fields) throws -> [NamedBytes] {
    let pickle = try serialized(fields)
    switch try fields.string("load_format") ?? "direct" {
    case "direct", "auto": return try PickledTensors.named(pickle)
    case "flattened_bucket": return try PickledTensors.flattened(pickle)
    case let other: throw InvalidRequest("load_format must be null, direct or flattened_bucket, got \(other).")
    }
  }

  static func suffix(_ installation: WeightInstallation, _ isInForce: Bool) -> String {
    guard let version = installation.version else { return "" }
    return isInForce ? " Weight version updated to \(version)." : " Weight version \(version) begins with end_weight_update."
  }

  private func serialized(_ fields: Fields) throws -> Data {
    guard let texts = try fields.strings("serialized_named_tensors") else {
      throw InvalidRequest("serialized_named_tensors is missing.")
    }
    guard texts.count == 1 else {
      throw InvalidRequest("serialized_named_tensors has \(texts.count) parts, but this engine has one rank; send one.")
    }
    guard let data = Data(base64Encoded: texts[0]) else { throw InvalidRequest("serialized_named_tensors is not base64.") }
    if let expected = try fields.string("checksum") {
      let found = data.withUnsafeBytes { XXHash64.hex($0) }
      guard found == expected.lowercased() else {
        throw InvalidRequest("The bucket has the checksum \(found), not \(expected): it was damaged on its way.")
      }
    }
    return data
  }
}
