import Hummingbird
import Synchronization

/// Counts HTTP requests and answers by route.
final class HTTPMetrics: Sendable {
  struct Route: Hashable { var endpoint, method: String }
  struct Answer: Hashable {
    var route: Route
    var status: Int
  }
  struct Counts {
    var requests: [Route: Int] = [:]
    var answers: [Answer: Int] = [:]
    var active = 0
    var durations = Histogram(bounds: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600])
  }
  private let state = Mutex(Counts())

  var counts: Counts { state.withLock { $0 } }

  fileprivate func began() { state.withLock { $0.active += 1 } }

  /// - Parameter route: known only once the request has been routed.
  fileprivate func ended(_ route: Route, status: Int, after duration: Duration) {
    state.withLock { counts in
      counts.active -= 1
      counts.requests[route, default: 0] += 1
      counts.answers[Answer(route: route, status: status), default: 0] += 1
      counts.durations.observe(duration.seconds)
    }
  }

  func write(to text: inout PrometheusText) {
    let counts = counts
    func routes<T>(_ table: [T: Int], _ labels: (T) -> PrometheusText.Labels) -> [(PrometheusText.Labels, Double)] {
      table.map { (labels($0.key), Double($0.value)) }.sorted { "\($0.0)" < "\($1.0)" }
    }
    text.family(
      "http_requests_total", "HTTP requests by endpoint and method.", type: "counter",
      routes(counts.requests) { ["endpoint": $0.endpoint, "method": $0.method] })
    text.family(
      "http_responses_total", "HTTP responses by endpoint, method and status.", type: "counter",
      routes(counts.answers) {
        ["endpoint": $0.route.endpoint, "status_code": String($0.status), "method": $0.route.method]
      })
    text.gauge("http_requests_active", "HTTP requests whose handler runs.", Double(counts.active))
  }
}

/// Feeds `HTTPMetrics`. The endpoint is the route's pattern, so that paths that clients make up are one.
struct HTTPMetricsMiddleware: RouterMiddleware {
  typealias Context = ServingContext
  let metrics: HTTPMetrics

  func handle(
    _ request: Request, context: ServingContext, next: (Request, ServingContext) async throws -> Response
  ) async throws -> Response {
    let start = ContinuousClock.now
    metrics.began()
    func end(_ status: Int) {
      let endpoint = context.endpointPath ?? "unknown"
      metrics.ended(
        HTTPMetrics.Route(endpoint: endpoint, method: request.method.rawValue), status: status, after: .now - start)
    }
    do {
      let response = try await next(request, context)
      end(response.status.code)
      return response
    } catch {
      end(500)
      throw error
    }
  }
}
