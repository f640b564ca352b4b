import Hummingbird
import Inference
import JSON
import NIOCore

/// Routes that control all workers at once.
extension RouterState {
  private static let controls: [RouterPath] = [
    "abort_request", "flush_cache", "pause_generation", "continue_generation", "update_weights_from_disk",
    "update_weights_from_tensor", "update_weights_from_distributed", "update_weights_from_ipc", "update_weight_version",
    "begin_weight_update", "end_weight_update", "init_weights_update_group", "destroy_weights_update_group",
    "post_process_weights", "pull_weights", "weights_checker", "release_memory_occupation", "resume_memory_occupation",
    "load_lora_adapter", "load_lora_adapter_from_tensors", "unload_lora_adapter", "start_profile", "stop_profile",
  ]
  /// Of one worker.
  private static let maxBytes = 64 << 20

  func addFanOutRoutes(to router: Router<ServingContext>) {
    for path in Self.controls { router.post(path) { request, _ in try await control(request) } }
    router.get("flush_cache") { request, _ in try await control(request) }
    router.get("v1/loads") { request, _ in try await loads(request) }
    router.get("v1/models") { request, _ in
      var models: [(String, JSONValue)] = []
      for answer in try await askAll(request) where answer.status == 200 {
        for model in answer.json["data"]?.array ?? [] { models.append((model["id"]?.string ?? "", model)) }
      }
      // Each model once.
      return Response(json: ["object": "list", "data": .array(JSONObject(models).pairs.map(\.value))])
    }
    router.get("v1/models/**") { request, _ in
      let answers = try await askAll(request)
      let answer = answers.first { $0.status == 200 } ?? answers[0]
      return Response(json: answer.json, status: HTTPResponse.Status(code: answer.status))
    }
  }

  private struct Answer: Sendable {
    var worker: RouterWorker
    /// 502 when there was none.
    var status: Int
    var text: String
    var json: JSONValue { (try? JSONValue(parsing: text)) ?? .string(text) }
  }

  /// The answers of all workers, also of those that take no requests: their state must not drift from the others'.
  private func askAll(_ request: Request, body: ByteBuffer = ByteBuffer()) async throws -> [Answer] {
    let members = pool.members
    guard !members.isEmpty else {
      throw StatusError(status: .serviceUnavailable, message: "No worker is there; add one with POST /workers.")
    }
    let target = request.uri.path + (request.uri.query.map { "?" + $0 } ?? "")
    return await withTaskGroup(of: (Int, Answer).self) { group in
      for (index, worker) in members.map(\.worker).enumerated() {
        let question = self.request(
          request.method.rawValue, worker.url, target, request.headers, body: body, timeout: configuration.requestTimeout)
        group.addTask {
          do {
            let (status, body) = try await client.collect(question, upTo: Self.maxBytes)
            return (index, Answer(worker: worker, status: status, text: String(buffer: body)))
          } catch {
            return (index, Answer(worker: worker, status: 502, text: "\(error)"))
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
    }
  }

  /// One answer for all workers: 200 when all did it, else the status of those that did not, or 502 where they differ.
  private func control(_ request: Request) async throws -> Response {
    let body = try await collectBody(request, upTo: configuration.maxPayloadBytes)
    if request.uri.path == "/init_weights_update_group", pool.members.count > 1 {
      throw InvalidRequest(
        "Each worker of a weights update group has a rank_offset of its own: call this route of every worker that GET /workers "
          + "lists.")
    }
    let answers = try await askAll(request, body: body)
    let failed = answers.filter { $0.status != 200 }
    let status = failed.isEmpty ? 200 : Set(failed.map(\.status)).count == 1 ? failed[0].status : 502
    let message =
      failed.isEmpty
      ? "All \(answers.count) workers did it."
      : "\(failed.count) of \(answers.count) workers did not: " + failed.map { "\($0.worker.url): \($0.text)" }.joined(separator: "; ")
    return Response(
      json: [
        "success": .bool(failed.isEmpty), "status": failed.isEmpty ? "ok" : "failed", "message": .string(message),
        "workers": .array(
          answers.map { ["url": .string($0.worker.url), "status": .int($0.status), "answer": $0.json] }),
      ], status: HTTPResponse.Status(code: status))
  }

  /// All workers' loads in one list.
  private func loads(_ request: Request) async throws -> Response {
    var joined: JSONObject = [:]
    var loads: [JSONValue] = []
    for answer in try await askAll(request) where answer.status == 200 {
      for (key, value) in answer.json.object?.pairs ?? [] where joined[key] == nil { joined[key] = value }
      for var load in (answer.json["loads"]?.array ?? []).compactMap(\.object) {
        load["worker"] = .string(answer.worker.url)
        loads.append(.object(load))
      }
    }
    joined["loads"] = .array(loads)
    return Response(json: .object(joined))
  }
}
