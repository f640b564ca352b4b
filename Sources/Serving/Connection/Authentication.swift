import Hummingbird

/// Wants an API key, where there is one, from all but the health checks and the metrics.
///
/// A route that controls the server wants the admin key where there is one, else the key. The admin key opens everything.
struct AuthenticationMiddleware: RouterMiddleware {
  typealias Context = ServingContext
  private static let open: Set<String> = [
    "/health", "/health_generate", "/ready", "/ping", "/readiness", "/liveness", "/metrics",
  ]
  /// Routes that generate or only tell; every other one controls.
  private static let plain: Set<String> = [
    "/generate", "/tokenize", "/detokenize", "/model_info", "/get_model_info", "/server_info", "/get_server_info",
    "/weight_version", "/get_weight_version", "/list_workers",
  ]

  let apiKey: String?
  let adminKey: String?

  func handle(
    _ request: Request, context: ServingContext, next: (Request, ServingContext) async throws -> Response
  ) async throws -> Response {
    let path = request.uri.path
    guard !Self.open.contains(path) else { return try await next(request, context) }
    let isPlain = path.hasPrefix("/v1/") || Self.plain.contains(path)
    let accepted = isPlain ? apiKey.map { [$0] + (adminKey.map { [$0] } ?? []) } : (adminKey ?? apiKey).map { [$0] }
    if let accepted, !accepted.contains(where: { Self.carries(request, $0) }) {
      let what = isPlain || adminKey == nil ? "api key" : "admin api key"
      throw StatusError(status: .unauthorized, message: "This route wants the header Authorization: Bearer <\(what)>.")
    }
    return try await next(request, context)
  }

  /// Compares in a time that tells nothing about the key but its length.
  private static func carries(_ request: Request, _ key: String) -> Bool {
    guard let given = request.headers[.authorization], given.hasPrefix("Bearer ") else { return false }
    let (a, b) = (Array(given.utf8.dropFirst("Bearer ".utf8.count)), Array(key.utf8))
    var difference = UInt8(a.count == b.count ? 0 : 1)
    for i in b.indices { difference |= b[i] ^ (i < a.count ? a[i] : 0) }
    return difference == 0
  }
}
