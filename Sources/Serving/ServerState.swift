import Foundation
import Hummingbird
import Inference
import JSON
import NIOCore

/// What the handlers share.
struct ServerState: Sendable {
  let engine: any GenerationEngine
  let encoder: (any PromptEncoder)?
  let configuration: ServerConfiguration
  let live = LiveRequests()
  let connections = Connections()
  let metrics = ServerMetrics()
  let profiler = Profiler()
  let startTime = Date()
  let weights: WeightControl

  init(engine: any GenerationEngine, encoder: (any PromptEncoder)?, configuration: ServerConfiguration) {
    (self.engine, self.encoder, self.configuration) = (engine, encoder, configuration)
    weights = WeightControl(timeout: configuration.weightGroupTimeout)
  }

  /// The name of the model in answers.
  func modelName(_ status: EngineStatus) -> String { configuration.servedModelName ?? status.modelPath }

  /// The body of a request as JSON.
  /// - Throws: `JSONError`, or 413 when it is larger than allowed.
  func json(_ request: Request) async throws -> JSONValue {
    try JSONValue(parsing: String(buffer: try await body(request)))
  }

  func body(_ request: Request, limit: Int? = nil) async throws -> ByteBuffer {
    try await collectBody(request, upTo: limit ?? configuration.maxBodyBytes)
  }

  func router() -> Router<ServingContext> {
    let router = Router(context: ServingContext.self)
    router.add(middleware: HTTPMetricsMiddleware(metrics: metrics.http))
    router.add(middleware: ErrorMiddleware())
    router.add(middleware: AuthenticationMiddleware(apiKey: configuration.apiKey, adminKey: configuration.adminAPIKey))
    addGenerateRoutes(to: router)
    addHealthRoutes(to: router)
    addInfoRoutes(to: router)
    addTokenizeRoutes(to: router)
    addProfileRoutes(to: router)
    addLoadRoutes(to: router)
    addMetricsRoutes(to: router)
    addControlRoutes(to: router)
    addAdapterRoutes(to: router)
    addWeightRoutes(to: router)
    addOpenAIRoutes(to: router)
    return router
  }
}
