import Foundation
import Hummingbird
import Inference
import JSON

extension ServerState {
  func addInfoRoutes(to router: Router<ServingContext>) {
    for path in ["model_info", "get_model_info"] as [RouterPath] {
      router.get(path) { _, _ in Response(json: modelInfo(try await engine.status())) }
    }
    for path in ["server_info", "get_server_info"] as [RouterPath] {
      router.get(path) { _, _ in Response(json: serverInfo(try await engine.status(), try await engine.rankStatuses())) }
    }
    for path in ["weight_version", "get_weight_version"] as [RouterPath] {
      router.get(path) { _, _ in
        Response(json: ["weight_version": .string(try await engine.status().weightVersion)])
      }
    }
  }

  private func modelInfo(_ status: EngineStatus) -> JSONValue {
    [
      "model_path": .string(status.modelPath), "served_model_name": .string(modelName(status)),
      "tokenizer_path": tokenizerPath(status), "is_generation": true, "preferred_sampling_params": nil,
      "weight_version": .string(status.weightVersion), "load_format": "auto",
      "reasoning_parser": reasoningParserName, "tool_call_parser": toolCallParserName, "disaggregation_mode": "null",
      "has_image_understanding": false, "has_audio_understanding": false, "model_type": .string(status.modelType),
      "vocab_size": .int(status.vocabularySize),
      "architectures": .array(status.architectures.map(JSONValue.string)),
    ]
  }

  private var reasoningParserName: JSONValue { configuration.reasoningParser.map { .string($0.rawValue) } ?? .null }
  private var toolCallParserName: JSONValue { configuration.toolCallParser.map { .string($0.rawValue) } ?? .null }

  private func tokenizerPath(_ status: EngineStatus) -> JSONValue {
    configuration.arguments["tokenizer_path"] ?? .string(status.modelPath)
  }

  /// The server's settings side by side, as clients of SGLang read them; those of `configuration.arguments` win.
  private func serverInfo(_ status: EngineStatus, _ ranks: [EngineStatus]) -> JSONValue {
    let capacity = status.totalPages * status.pageSize
    let throughput = throughput(ranks)
    var info: JSONObject = [
      "model_path": .string(status.modelPath), "served_model_name": .string(modelName(status)),
      "tokenizer_path": tokenizerPath(status), "host": .string(configuration.host), "port": .int(configuration.port),
      "context_length": .int(status.contextLength), "page_size": .int(status.pageSize),
      "max_running_requests": .int(status.maxRunningRequests), "tp_size": 1, "dp_size": .int(ranks.count), "pp_size": 1, "ep_size": 1,
      "nnodes": 1, "node_rank": 0, "disaggregation_mode": "null", "disaggregation_bootstrap_port": nil, "load_format": "auto",
      "stages_weight_updates": .bool(self.engine is any UpdatableEngine), "skip_tokenizer_init": .bool(encoder == nil), "reasoning_parser": reasoningParserName,
      "tool_call_parser": toolCallParserName, "incremental_streaming_output": .bool(configuration.incrementalStreamingOutput),
      "weight_version": .string(status.weightVersion), "max_total_num_tokens": .int(capacity),
      "max_req_input_len": .int(min(status.contextLength, capacity) - 1),
      "startup_time": .double(startTime.timeIntervalSince1970), "status": "ready",
      "internal_states": .array(
        ranks.map { rank in
          [
            "effective_max_running_requests_per_dp": .int(rank.maxRunningRequests),
            "num_running_reqs": .int(rank.runningRequests), "num_waiting_reqs": .int(rank.waitingRequests),
            "generated_tokens": .int(rank.generatedTokens),
            "last_gen_throughput": .double(throughput),
            "token_capacity": .int(rank.totalPages * rank.pageSize), "weight_version": .string(rank.weightVersion),
          ]
        }),
    ]
    for (key, value) in configuration.arguments.pairs { info[key] = value }
    return .object(info)
  }
}
