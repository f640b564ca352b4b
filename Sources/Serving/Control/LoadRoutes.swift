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
      let status = try await engine.status()
      switch query["format"] ?? "json" {
      case "json": return Response(json: loads(rank ?? 0 == 0 ? [status] : [], sections))
      case "prometheus": return Response(prometheus: loadsText(rank ?? 0 == 0 ? [status] : []))
      default: throw InvalidRequest("format must be json or prometheus, got \(query["format"]!).")
      }
    }
  }

  private func loads(_ ranks: [EngineStatus], _ sections: Set<String>) -> JSONValue {
    [
      "timestamp": .string(Date().ISO8601Format()), "accelerator": nil, "num_accelerators": 1,
      "loads": .array(ranks.enumerated().map { load($1, rank: $0, sections) }),
    ]
  }

  private func load(_ status: EngineStatus, rank: Int, _ sections: Set<String>) -> JSONValue {
    let (load, counts) = (EngineLoad(status), metrics.counts)
    var entry: JSONObject = [
      "timestamp": .double(Date().timeIntervalSince1970), "dp_rank": .int(rank),
      "num_running_reqs": .int(status.runningRequests), "num_waiting_reqs": .int(status.waitingRequests),
      "num_used_tokens": .int(load.usedTokens), "num_total_tokens": .int(load.usedTokens),
      "max_total_num_tokens": .int(load.capacity), "max_running_requests": .int(status.maxRunningRequests),
      "token_usage": .double(load.tokenUsage), "utilization": .double(load.utilization),
      "gen_throughput": .double(metrics.throughput(generatedTokens: status.generatedTokens)),
      "cache_hit_rate": .double(
        counts.promptTokens == 0 ? 0 : Double(counts.cachedTokens) / Double(counts.promptTokens)),
    ]
    func wants(_ section: String) -> Bool { sections.contains("all") || sections.contains(section) }
    if wants("memory") { entry["memory"] = ["token_capacity": .int(load.capacity)] }
    if wants("queues") { entry["queues"] = ["waiting": .int(status.waitingRequests)] }
    return .object(entry)
  }

  private func loadsText(_ ranks: [EngineStatus]) -> String {
    var text = PrometheusText(prefix: "sglang:")
    func family(_ name: String, _ help: String, _ value: (EngineStatus) -> Double) {
      text.family(name, help, type: "gauge", ranks.enumerated().map { (["dp_rank": String($0)], value($1)) })
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
