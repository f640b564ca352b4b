import Hummingbird
import Inference

extension ServerState {
  /// How long an engine may take to tell its status.
  private static let statusTimeout: Duration = .seconds(5)

  func addHealthRoutes(to router: Router<ServingContext>) {
    for path in ["health", "ready", "ping"] as [RouterPath] {
      router.get(path) { _, _ in
        let status = await withDeadline(Self.statusTimeout) { [engine] in try await engine.status() }
        return Response(text: "", status: status == nil ? .serviceUnavailable : .ok)
      }
    }
    router.get("health_generate") { _, _ in
      Response(text: "", status: await generatesToken() ? .ok : .serviceUnavailable)
    }
  }

  /// Whether the engine generates a token for us, or for anybody, in time.
  private func generatesToken() async -> Bool {
    var sampling = SamplingParameters()
    (sampling.maxNewTokens, sampling.temperature, sampling.ignoreEOS) = (1, 0, true)
    let request = GenerateRequest(id: "health-" + RequestNames.unique(), tokens: [0], sampling: sampling)
    let before = await withDeadline(Self.statusTimeout) { [engine] in try await engine.status() }
    guard let before else { return false }
    let own = await withDeadline(configuration.healthTimeout) { [engine] in try await engine.generate(request) }
    if own != nil { return true }
    await engine.abort(request.id)
    let after = await withDeadline(Self.statusTimeout) { [engine] in try await engine.status() }
    return after.map { $0.generatedTokens > before.generatedTokens } ?? false
  }
}
