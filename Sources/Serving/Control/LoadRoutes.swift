import Foundation
import Hummingbird
import Inference
import JSON

/// `/v1/loads`: how busy the engine is, for balancers.
extension ServerState {
  private static let sections: Set<String> = ["core", "memory", "spec", "lora", "disagg", "queues", "all"]

  func addLoadRoutes(to router: Router<ServingContext>) {
    router.get("v1/loads") { request, _ in
      let query = request.uri.queryParameters
      let sections = query["include"].map { Set($0.split(separator: ",").map(String.init)) } ?? ["all"]
      if let unknown = sections.subtracting(Self.sections).min() {
        throw InvalidRequest("include has no section \(unknown); there are \(Self.sections.sorted().joined(separator: ", ")).")
      }
      let rank = try query["dp_rank"].map { text in
        guard let rank = Int(text), rank >= 0 else { throw InvalidRequest("dp_rank must be a rank from 0 on, got \(text).") }
        return rank
      }
      let all = try await engine.rankStatuses()
      let ranks = Array(all.enumerated()).filter { rank == nil || $0.offset == rank }
      switch query["format"] ?? "json" {
      case "json": return Response(json: loads(ranks, sections, throughput: throughput(all)))
      case "prometheus": return Response(prometheus: loadsText(ranks))
      default: throw InvalidRequest("format must be json or prometheus, got \(query["format"]!).")
      }
    }
  }

  /// Of an engine on average: they are measured together.
  func throughput(_ ranks: [EngineStatus]) -> Double {
    metrics.throughput(generatedTokens: ranks.reduce(0) { $0 + $1.generatedTokens }) / Double(ranks.count)
  }

  private func loads(
    _ ranks: [(offset: Int, element: EngineStatus)], _ sections: Set<String>, throughput: Double
  ) -> JSONValue {
    [
      "timestamp": .string(Date().ISO8601Format()), "accelerator": nil, "num_accelerators": 1,
      "loads": .array(ranks.map { load($0.element, rank: $0.offset, sections, throughput) }),
    ]
  }

  private func load(_ status: EngineStatus, rank: Int, _ sections: Set<String>, _ throughput: Double) -> JSONValue {
    let (load, counts) = (EngineLoad(status), metrics.counts)
    var entry: JSONObject = [
      "timestamp": .double(Date().timeIntervalSince1970), "dp_rank": .int(rank),
      "num_running_reqs": .int(status.runningRequests), "num_waiting_reqs": .int(status.waitingRequests),
      "num_used_tokens": .int(load.usedTokens), "num_total_tokens": .int(load.usedTokens),
      "max_total_num_tokens": .int(load.capacity), "max_running_requests": .int(status.maxRunningRequests),
      "token_usage": .double(load.tokenUsage), "utilization": .double(load.utilization),
      "gen_throughput": .double(throughput),
      "cache_hit_rate": .double(
        counts.promptTokens == 0 ? 0 : Double(counts.cachedTokens) / Double(counts.promptTokens)),
    ]
    func wants(_ section: String) -> Bool { sections.contains("all") || sections.contains(section) }
    if wants("memory") { entry["memory"] = ["token_capacity": .int(load.capacity)] }
    if wants("queues") { entry["queues"] = ["waiting": .int(status.waitingRequests)] }
    return .object(entry)
  }

  private func loadsText(_ ranks: [(offset: Int, element: EngineStatus)]) -> String {
    var text = PrometheusText(prefix: "sglang:")
    func family(_ name: String, _ help: String, _ value: (EngineStatus) -> Double) {
      text.family(name, help, type: "gauge", ranks.map { (["dp_rank": String($0.offset)], value($0.element)) })
    }
    family("num_running_reqs", "The number of running requests.") { Double($0.runningRequests) }
    family("num_waiting_reqs", "The number of waiting requests.") { Double($0.waitingRequests) }
    family("num_used_tokens", "The number of used tokens.") { Double(EngineLoad($0).usedTokens) }
    family("max_total_num_tokens", "The number of tokens the KV cache has room for.") { Double(EngineLoad($0).capacity) }
    family("token_usage", "The share of the KV cache in use.") { EngineLoad($0).tokenUsage }
    family("utilization", "The share of the running requests that are allowed.") { EngineLoad($0).utilization }
    return text.text
  }
}
