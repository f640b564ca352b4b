import Foundation
import Hummingbird
import Inference
import JSON

extension ServerState {
  /// How often the engine's state is noted.
  private static let profileInterval: Duration = .milliseconds(20)
  /// What SGLang's profiler of operations is told; this one records requests, not operations.
  private static let profileHints: Set<String> = [
    "activities", "with_stack", "record_shapes", "profile_by_stage", "merge_profiles", "profile_stages",
  ]

  /// `/start_profile` and `/stop_profile`: a trace of requests and of the engine's state, for Chrome's viewer or Perfetto.
  func addProfileRoutes(to router: Router<ServingContext>) {
    for method in [HTTPRequest.Method.get, .post] {
      router.on("start_profile", method: method) { request, _ in try await startProfile(request) }
      router.on("stop_profile", method: method) { _, _ in
        if profiler.isRunning { profiler.note(try await engine.status()) }
        guard let path = try profiler.stop() else {
          return Response(text: "Profiling is not in progress; call /start_profile first.\n", status: .badRequest)
        }
        return Response(text: "Stop profiling. The trace is \(path).\n")
      }
    }
  }

  private func startProfile(_ request: Request) async throws -> Response {
    let body = try await body(request)
    let fields = try Fields(body.readableBytes == 0 ? .object([:]) : try JSONValue(parsing: String(buffer: body)))
    try fields.refuse(["num_steps", "start_step"])
    try fields.expectOnly(Self.profileHints.union(["output_dir", "profile_prefix", "profile_id", "num_steps", "start_step"]))
    let folder = try fields.string("output_dir") ?? ProcessInfo.processInfo.environment["SGLANG_TORCH_PROFILER_DIR"] ?? "/tmp"
    let prefix = try fields.string("profile_prefix")
    let id = try fields.string("profile_id") ?? String(Int(Date().timeIntervalSince1970))
    let name = [prefix, id].compactMap { $0 }.joined(separator: "-")
    guard !name.contains("/") else {
      throw InvalidRequest("profile_prefix and profile_id must not contain a slash, got \(name).")
    }
    guard profiler.start(folder: folder, name: name) else {
      return Response(text: "Profiling is already in progress; call /stop_profile first.\n", status: .badRequest)
    }
    Task { [profiler, engine] in
      while profiler.isRunning {
        if let status = try? await engine.status() { profiler.note(status) }
        try await Task.sleep(for: Self.profileInterval)
      }
    }
    return Response(text: "Start profiling.\n")
  }
}
