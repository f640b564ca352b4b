import Hummingbird
import Inference
import JSON

/// The style in which a route tells of errors.
enum ErrorStyle {
  /// `{"error": {"message": …}}`, as `/generate` and the control routes do.
  case native
  /// `{"object": "error", "message": …, "type": …, "param": null, "code": …}`, as the `/v1` routes do.
  case openAI

  init(path: String) { self = path.hasPrefix("/v1/") ? .openAI : .native }

  func body(_ status: HTTPResponse.Status, _ message: String) -> JSONValue {
    switch self {
    case .native: return ["error": ["message": .string(message)]]
    case .openAI:
      return [
        "object": "error", "message": .string(message), "type": .string(status.errorType), "param": nil,
        "code": .int(status.code),
      ]
    }
  }
}

extension HTTPResponse.Status {
  fileprivate var errorType: String {
    switch code {
    case 401: "AuthenticationError"
    case 404: "NotFoundError"
    case 400..<500: "BadRequestError"
    default: "InternalServerError"
    }
  }
}

/// A status other than 400 that a handler answers with.
struct StatusError: Error {
  var status: HTTPResponse.Status
  var message: String
}

/// Turns what handlers throw into answers; the server stays up.
struct ErrorMiddleware: RouterMiddleware {
  typealias Context = ServingContext

  func handle(
    _ request: Request, context: ServingContext, next: (Request, ServingContext) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let error as HTTPError where error.status == .notFound {
      return Response(json: ["detail": "Not Found"], status: .notFound)
    } catch {
      let (status, message) = Self.describe(error)
      if status.code >= 500 { context.logger.error("\(request.method) \(request.uri.path): \(message)") }
      return Response(json: ErrorStyle(path: request.uri.path).body(status, message), status: status)
    }
  }

  static func describe(_ error: any Error) -> (HTTPResponse.Status, String) {
    switch error {
    case let error as InvalidRequest: (.badRequest, error.description)
    case let error as JSONError: (.badRequest, "The request body is \(error).")
    case let error as StatusError: (error.status, error.message)
    case let error as HTTPError: (error.status, error.body ?? error.status.reasonPhrase)
    // Nobody reads this; nginx's status for it keeps it apart in logs.
    case is ClientGone: (HTTPResponse.Status(code: 499, reasonPhrase: "Client Closed Request"), "The client has gone away.")
    case is CancellationError: (.serviceUnavailable, "The engine stopped before the request was finished.")
    default: (.internalServerError, "\(error)")
    }
  }
}

extension Response {
  init(json: JSONValue, status: HTTPResponse.Status = .ok) { self.init(jsonBytes: json.bytes(), status: status) }

  init(jsonBytes: [UInt8], status: HTTPResponse.Status = .ok) {
    self.init(
      status: status, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: ByteBuffer(bytes: jsonBytes)))
  }

  init(text: String, status: HTTPResponse.Status = .ok) {
    self.init(
      status: status, headers: [.contentType: "text/plain; charset=utf-8"],
      body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }
}
