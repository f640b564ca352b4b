import Hummingbird
import Inference

extension ServerState {
  func addMetricsRoutes(to router: Router<ServingContext>) {
    router.get("metrics") { _, _ in Response(prometheus: metricsText(try await engine.status())) }
  }

  /// SGLang's names and labels. What an engine counts by itself comes from its status, the rest from finished requests.
  private func metricsText(_ status: EngineStatus) -> String {
    let (counts, load) = (metrics.counts, EngineLoad(status))
    var text = PrometheusText(
      prefix: "sglang:",
      labels: ["model_name": modelName(status), "engine_type": "unified", "tp_rank": "0", "pp_rank": "0", "dp_rank": "0"])
    text.gauge("num_running_reqs", "The number of running requests.", Double(status.runningRequests))
    text.gauge("num_queue_reqs", "The number of requests in the waiting queue.", Double(status.waitingRequests))
    text.gauge("num_used_tokens", "The number of used tokens.", Double(load.usedTokens))
    text.gauge("max_total_num_tokens", "The number of tokens the KV cache has room for.", Double(load.capacity))
    text.gauge("token_usage", "The share of the KV cache in use.", load.tokenUsage)
    text.gauge("utilization", "The share of the running requests that are allowed.", load.utilization)
    text.gauge("kv_used_tokens", "Tokens of the KV cache held by requests.", Double(load.usedTokens))
    text.gauge("kv_available_tokens", "Tokens of the KV cache not held by requests.", Double(load.capacity - load.usedTokens))
    text.gauge(
      "kv_evictable_tokens", "Tokens of cached prefixes that no request holds.",
      Double(status.evictablePages * status.pageSize))
    text.gauge(
      "gen_throughput", "The generation throughput (token/s).", metrics.throughput(generatedTokens: status.generatedTokens))
    text.gauge(
      "cache_hit_rate", "The share of prompt tokens found in the prefix cache.",
      counts.promptTokens == 0 ? 0 : Double(counts.cachedTokens) / Double(counts.promptTokens))
    if let speculation = status.speculation {
      text.gauge("spec_accept_length", "Tokens that a step with drafts gave on average.", speculation.acceptLength)
      text.gauge("spec_accept_rate", "The share of drafted tokens that were right.", speculation.acceptRate)
    }
    text.counter("prompt_tokens_total", "Number of prefill tokens processed.", Double(counts.promptTokens))
    text.counter("generation_tokens_total", "Number of generation tokens processed.", Double(counts.generatedTokens))
    text.counter("realtime_tokens_total", "Tokens generated, those of running requests included.", Double(status.generatedTokens))
    text.counter("cached_tokens_total", "Number of cached prompt tokens.", Double(counts.cachedTokens))
    text.counter(
      "evicted_tokens_total", "Tokens of cached prefixes that made room for others.", Double(status.evictedTokensTotal))
    text.counter("num_retractions_total", "How often a running request was retracted.", Double(status.retractedTotal))
    text.counter("num_requests_total", "Number of requests processed.", Double(counts.requests))
    text.counter("num_aborted_requests_total", "Number of requests aborted.", Double(counts.aborted))
    text.counter("num_retracted_requests_total", "Number of requests retracted.", Double(counts.retractedRequests))
    text.histogram("time_to_first_token_seconds", "Histogram of time to first token in seconds.", counts.firstToken)
    text.histogram("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", counts.betweenTokens)
    text.histogram(
      "request_time_per_output_token_seconds", "Histogram of seconds per output token of a request.", counts.perOutputToken)
    text.histogram("e2e_request_latency_seconds", "Histogram of end-to-end request latency in seconds.", counts.endToEnd)
    text.histogram("prompt_tokens_histogram", "Histogram of prompt lengths.", counts.promptLengths)
    text.histogram("generation_tokens_histogram", "Histogram of response lengths.", counts.responseLengths)
    metrics.http.write(to: &text)
    return text.text
  }
}

/// How busy an engine is.
struct EngineLoad {
  let usedTokens, capacity: Int
  /// Shares of the KV cache and of the running requests.
  let tokenUsage, utilization: Double

  init(_ status: EngineStatus) {
    usedTokens = (status.totalPages - status.freePages) * status.pageSize
    capacity = status.totalPages * status.pageSize
    tokenUsage = capacity == 0 ? 0 : Double(usedTokens) / Double(capacity)
    let most = status.maxRunningRequests
    utilization = most == 0 ? 0 : Double(status.runningRequests) / Double(most)
  }
}

extension Response {
  init(prometheus text: String) {
    self.init(
      status: .ok, headers: [.contentType: PrometheusText.contentType],
      body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }
}
