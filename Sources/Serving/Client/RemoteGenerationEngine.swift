import Foundation
import Inference
import JSON
import WeightSync

/// An engine behind SGLang's HTTP API that generates: ours or SGLang's own, which may be of another release.
public struct RemoteGenerationEngine: GenerationEngine {
  /// A response takes as long as it takes; a server that dies closes the connection.
  private static let generationTimeout: Duration = .seconds(7 * 24 * 3600)

  public let remote: RemoteEngine

  public init(_ remote: RemoteEngine) { self.remote = remote }

  public func generate(_ request: GenerateRequest) async throws -> GenerateOutput {
    let answer = try await remote.post("/generate", request.json, timeout: Self.generationTimeout)
    do {
      return try GenerateOutput(json: answer, to: request)
    } catch {
      throw WeightSyncError("The engine at \(remote.address) answered /generate with what is no response: \(error)")
    }
  }

  /// One update: the finished output.
  public func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error> {
    .ofTask { $0.yield(try await generate(request)) }
  }

  public func abort(_ id: String?) async {
    _ = try? await remote.post("/abort_request", id.map { ["rid": .string($0)] } ?? ["abort_all": true])
  }

  public func flushCache() async -> Bool { (try? await remote.send("GET", "/flush_cache"))?.status == 200 }

  public func pause(_ mode: PauseMode) async throws {
    try await remote.post("/pause_generation", ["mode": .string(mode.rawValue)])
  }

  public func resume() async throws { try await remote.post("/continue_generation") }

  /// What the server tells of itself; 0 and empty where it tells nothing.
  public func status() async throws -> EngineStatus {
    let model = try await remote.get("/model_info", "/get_model_info")
    let server = try await remote.get("/server_info", "/get_server_info")
    func number(_ key: String) -> Int { model[key]?.int ?? server[key]?.int ?? 0 }
    var status = EngineStatus()
    status.modelPath = model["model_path"]?.string ?? server["model_path"]?.string ?? ""
    status.modelType = model["model_type"]?.string ?? ""
    status.architectures = model["architectures"]?.strings ?? []
    status.weightVersion = model["weight_version"]?.string ?? server["weight_version"]?.string ?? "default"
    (status.vocabularySize, status.contextLength) = (number("vocab_size"), number("context_length"))
    (status.maxRunningRequests, status.pageSize) = (number("max_running_requests"), max(number("page_size"), 1))
    status.totalPages = number("max_total_num_tokens") / status.pageSize
    return status
  }
}
