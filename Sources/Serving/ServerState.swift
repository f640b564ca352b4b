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
    let limit = limit ?? configuration.maxBodyBytes
    let tooLarge = StatusError(
      status: .contentTooLarge,
      message: "The request body is larger than \(limit) bytes; send fewer prompts at a time.")
    // One that says so is refused before it is sent.
    if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit { throw tooLarge }
    var request = request
    do {
      return try await request.collectBody(upTo: limit)
    } catch is NIOTooManyBytesError {
      throw tooLarge
    } catch let error as HTTPError {
      throw error
    } catch {
      throw InvalidRequest("The request body ends early: \(error).")
    }
  }

  func router() -> Router<ServingContext> {
    let router = Router(context: ServingContext.self)
    router.add(middleware: ErrorMiddleware())
    if let apiKey = configuration.apiKey { router.add(middleware: AuthenticationMiddleware(apiKey: apiKey)) }
    addGenerateRoutes(to: router)
    addHealthRoutes(to: router)
    addInfoRoutes(to: router)
    addControlRoutes(to: router)
    addWeightRoutes(to: router)
    addOpenAIRoutes(to: router)
    return router
  }
}
