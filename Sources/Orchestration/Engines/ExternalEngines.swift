import HTTP
import Inference
import Models
import Serving
import WeightSync

/// Engines that run elsewhere and were started by somebody else (slime's `--rollout-external`).
enum ExternalEngines {
  /// Asks each engine what it is, and compares that with the model to train.
  /// - Throws: `ConfigurationError` that names the address of an engine that cannot be used.
  static func discover(_ inputs: RunInputs) async throws -> [RemoteEngine] {
    let cluster = inputs.configuration.cluster
    let timeout = Duration.seconds(cluster.distributedTimeoutMinutes * 60)
    return try await withThrowingTaskGroup(of: (Int, RemoteEngine).self) { group in
      for (index, address) in cluster.externalEngines.enumerated() {
        group.addTask {
          do {
            let engine = try RemoteEngine(address, timeout: timeout)
            try await check(engine, inputs)
            return (index, engine)
          } catch let error as ConfigurationError {
            throw ConfigurationError("--rollout-external-engine-addrs \(address): \(error)")
          } catch let error where error is WeightSyncError || error is HTTPClientError {
            throw ConfigurationError(
              "--rollout-external-engine-addrs \(address) leads to no engine: \(error) Give the address of a server that runs")
          }
        }
      }
      var engines: [Int: RemoteEngine] = [:]
      for try await (index, engine) in group { engines[index] = engine }
      return cluster.externalEngines.indices.map { engines[$0]! }
    }
  }

  private static func check(_ engine: RemoteEngine, _ inputs: RunInputs) async throws {
    let status = try await RemoteGenerationEngine(engine).status()
    let folder = inputs.folder.url.path
    func agree(_ what: String, _ found: String, _ expected: String) throws {
      try require(
        found == expected,
        "it serves a model of \(what) \(found), but --hf-checkpoint \(folder) has \(expected); give an engine of the same model")
    }
    if !status.modelType.isEmpty, let type = inputs.folder.config["model_type"]?.string {
      try agree("model_type", status.modelType, type)
    }
    let architectures = (inputs.folder.config["architectures"]?.array ?? []).compactMap(\.string)
    if !status.architectures.isEmpty, !architectures.isEmpty {
      try agree("architectures", status.architectures.joined(separator: ", "), architectures.joined(separator: ", "))
    }
    if status.vocabularySize > 0 {
      try agree("vocabulary size", String(status.vocabularySize), String(inputs.model.vocabularySize))
    }
    if status.contextLength > 0, let response = inputs.configuration.rollout.maxResponseLength {
      try require(
        status.contextLength > response,
        "its context of \(status.contextLength) tokens is too short for --rollout-max-response-len \(response)")
    }
    let server = try await engine.get("/server_info", "/get_server_info")
    if inputs.configuration.backend.weightTransport == .nccl, let size = server["dp_size"]?.int {
      try require(
        size == 1,
        "it has dp_size \(size), whose ranks cannot be sent weights; use --update-weight-transport disk")
    }
  }
}
