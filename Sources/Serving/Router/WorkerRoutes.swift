import Foundation
import HTTP
import Hummingbird
import Inference
import JSON

/// Adding, listing and removing workers while requests run.
extension RouterState {
  /// Of an answer that describes a worker.
  private static let maxInfoBytes = 1 << 20
  /// What SGLang's router has for workers and this one takes without using it.
  private static let hints: Set<String> = [
    "model_id", "priority", "cost", "labels", "runtime", "health", "tokenizer_path", "reasoning_parser", "tool_parser",
    "chat_template", "connection_mode",
  ]

  func addWorkerRoutes(to router: Router<ServingContext>) {
    router.post("workers") { request, _ in
      let fields = try Fields(try JSONValue(parsing: String(buffer: try await collectBody(request, upTo: 1 << 20))))
      try fields.refuse(["bootstrap_port", "bootstrap_host", "api_key", "dp_aware"])
      try fields.expectOnly(
        Self.hints.union(["url", "worker_type", "bootstrap_port", "bootstrap_host", "api_key", "dp_aware"]))
      guard let url = try fields.string("url") else { throw InvalidRequest("url is needed.") }
      if let type = try fields.string("worker_type"), type != "regular" {
        throw InvalidRequest("worker_type must be regular, got \(type): prefill and decode are not apart in this router.")
      }
      let worker = try await add(url)
      return Response(
        json: [
          "status": "accepted", "worker_id": .string(worker.id), "id": .string(worker.id), "url": .string(worker.url),
          "location": .string("/workers/\(worker.id)"), "message": .string("The worker \(worker.url) is added."),
        ], status: .accepted)
    }
    router.get("workers") { _, _ in
      let members = pool.members
      return Response(json: [
        "workers": .array(members.map(describe)), "total": .int(members.count),
        "stats": ["regular_count": .int(members.count), "prefill_count": 0, "decode_count": 0],
      ])
    }
    router.get("workers/:id") { _, context in
      let id = try context.parameters.require("id")
      guard let member = pool.members.first(where: { $0.worker.id == id }) else { throw Self.unknown(id) }
      return Response(json: describe(member))
    }
    router.delete("workers/:id") { _, context in
      let id = try context.parameters.require("id")
      guard let member = pool.remove(id) else { throw Self.unknown(id) }
      return Response(
        json: [
          "status": "accepted", "worker_id": .string(id), "url": .string(member.worker.url),
          "message": .string("The worker gets no more requests; it serves \(member.load) to their end."),
        ], status: .accepted)
    }
    router.post("add_worker") { request, _ in
      let worker = try await add(try Self.url(request))
      return Response(text: "Successfully added worker: \(worker.url)\n")
    }
    router.post("remove_worker") { request, _ in
      let url = try Self.normal(try Self.url(request))
      guard let member = pool.present.first(where: { $0.worker.url == url }), pool.remove(member.worker.id) != nil else {
        throw Self.unknown(url)
      }
      return Response(text: "Successfully removed worker: \(url)\n")
    }
    router.get("list_workers") { _, _ in
      Response(json: ["urls": .array(pool.present.map { .string($0.worker.url) })])
    }
  }

  private static func unknown(_ name: String) -> StatusError {
    StatusError(status: .notFound, message: "There is no worker \(name); GET /workers lists them.")
  }

  private static func url(_ request: Request) throws(InvalidRequest) -> String {
    guard let url = request.uri.queryParameters["url"] else { throw InvalidRequest("The query needs url=http://host:port.") }
    return url.removingPercentEncoding ?? String(url)
  }

  private func describe(_ member: WorkerPool.Member) -> JSONValue {
    [
      "id": .string(member.worker.id), "url": .string(member.worker.url), "model_id": .string(member.worker.model),
      "worker_type": "regular", "is_healthy": .bool(member.isHealthy), "load": .int(member.load),
      "is_draining": .bool(member.isDraining),
      "circuit_breaker": .string("\(member.breaker.state(at: .now))"), "processed": .int(member.served),
      "failed": .int(member.failed), "connection_mode": "http", "priority": 50, "cost": 1.0,
    ]
  }

  // MARK: Checks

  /// Adds a worker that is up and serves the model of the others.
  /// - Throws: `InvalidRequest` when it is not.
  func add(_ url: String) async throws -> RouterWorker {
    let url = try Self.normal(url)
    guard await isHealthy(url) else {
      throw InvalidRequest("The worker \(url) does not answer /health with 200; add it once it is up.")
    }
    return try pool.add(url, model: try await model(of: url))
  }

  /// Without a path or a slash at the end, so that one worker has one name.
  private static func normal(_ url: String) throws(InvalidRequest) -> String {
    do {
      let (address, target) = try HTTPAddress.parse(url)
      guard target == "/" else { throw InvalidRequest("A worker's url has no path, unlike \(url); write http://host:port.") }
      return "http://\(address)"
    } catch let error as InvalidRequest {
      throw error
    } catch {
      throw InvalidRequest("\(error)")
    }
  }

  func isHealthy(_ url: String) async -> Bool {
    let check = request("GET", url, "/health", timeout: configuration.healthCheckTimeout)
    return (try? await client.collect(check, upTo: Self.maxInfoBytes))?.status == 200
  }

  private func model(of url: String) async throws -> String {
    for path in ["/model_info", "/get_model_info", "/server_info"] {
      let question = request("GET", url, path, timeout: configuration.healthCheckTimeout)
      guard let (status, body) = try? await client.collect(question, upTo: Self.maxInfoBytes), status == 200,
        let info = try? JSONValue(parsing: String(buffer: body)),
        let name = info["served_model_name"]?.string ?? info["model_path"]?.string
      else { continue }
      return name
    }
    throw InvalidRequest("The worker \(url) tells no model at /model_info or /server_info; is it an engine's server?")
  }

  // MARK: In the background

  /// Adds the workers of the configuration as they come up, and looks after all workers, until cancelled.
  /// - Parameter report: told of workers that cannot be added.
  func lookAfterWorkers(report: @escaping @Sendable (String) -> Void) async {
    await withTaskGroup(of: Void.self) { group in
      for url in configuration.workerURLs { group.addTask { await awaitWorker(url, report) } }
      if !configuration.healthCheckDisabled { group.addTask { await checkHealth() } }
    }
  }

  private func awaitWorker(_ url: String, _ report: @Sendable (String) -> Void) async {
    let deadline = ContinuousClock.now + configuration.workerStartupTimeout
    while !Task.isCancelled {
      do {
        _ = try await add(url)
        return
      } catch {
        if ContinuousClock.now >= deadline { return report("\(error)") }
      }
      try? await Task.sleep(for: configuration.workerStartupInterval)
    }
  }

  private func checkHealth() async {
    while !Task.isCancelled {
      try? await Task.sleep(for: configuration.healthCheckInterval)
      await withTaskGroup(of: Void.self) { group in
        for member in pool.members {
          group.addTask {
            let isHealthy = await isHealthy(member.worker.url)
            if !Task.isCancelled { pool.note(member.worker.id, isHealthy: isHealthy) }
          }
        }
      }
    }
  }
}
