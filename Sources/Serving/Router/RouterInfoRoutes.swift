import Hummingbird

/// What a router tells of itself.
extension RouterState {
  func addRouterInfoRoutes(to router: Router<ServingContext>) {
    for path in ["health", "ready", "readiness"] as [RouterPath] {
      router.get(path) { _, _ in
        let isReady = pool.present.contains(where: \.isHealthy)
        return Response(text: isReady ? "" : "No healthy worker.\n", status: isReady ? .ok : .serviceUnavailable)
      }
    }
    for path in ["ping", "liveness"] as [RouterPath] { router.get(path) { _, _ in Response(text: "") } }
    router.get("metrics") { _, _ in Response(prometheus: metricsText()) }
  }

  /// The names of SGLang's model gateway.
  private func metricsText() -> String {
    var text = PrometheusText(prefix: "smg_")
    let members = pool.members
    func family(_ name: String, _ help: String, type: String = "gauge", _ value: (WorkerPool.Member) -> Int) {
      text.family(name, help, type: type, members.map { (["worker": $0.worker.url], Double(value($0))) })
    }
    http.write(to: &text)
    text.histogram("http_request_duration_seconds", "Seconds until the handler of a request ended.", http.counts.durations)
    func count(_ name: String, _ help: String, _ value: Int) { text.counter(name, help, Double(value)) }
    text.gauge(
      "router_requests_active", "Requests that are being forwarded.", Double(counts.active.load(ordering: .relaxed)))
    count("router_retries_total", "Attempts after the first.", counts.retries.load(ordering: .relaxed))
    count(
      "router_broken_streams_total", "Streams whose worker failed in the middle.", counts.brokenStreams.load(ordering: .relaxed))
    count(
      "router_client_disconnects_total", "Requests whose client left.", counts.disconnects.load(ordering: .relaxed))
    text.gauge("router_cache_tree_size", "Units of prompts that the cache-aware policy remembers.", Double(pool.treeSize))
    text.gauge("worker_pool_size", "Workers, draining ones included.", Double(members.count))
    family("worker_requests_active", "Requests that a worker serves.") { $0.load }
    family("worker_health", "1 when a worker takes requests.") { $0.isHealthy ? 1 : 0 }
    family("worker_cb_state", "0 closed, 1 open, 2 half open.") { $0.breaker.state(at: .now).rawValue }
    family("worker_processed_total", "Requests that a worker has served.", type: "counter") { $0.served }
    family("worker_failed_total", "Requests that a worker has failed.", type: "counter") { $0.failed }
    return text.text
  }
}
