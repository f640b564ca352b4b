import Foundation
import Inference
import JSON

/// What the bodies of `/v1/completions` and `/v1/chat/completions` have in common.
struct OpenAIOptions {
  var model: String?
  var sampling: SamplingParameters
  var maxTokens: Int?
  var samples: Int
  var streams: Bool
  var includeUsage: Bool
  var name: String?
  var returnTokenIDs: Bool
  var priority: Int?
  var extraKey: String?
  var cacheSalt: String?
  /// Of `lora_path`; `model` may name one as well.
  var adapter: String?

  /// OpenAI names of SGLang's sampling parameters; the others are called alike.
  private static let renamed = [
    "max_tokens": "max_new_tokens", "max_completion_tokens": "max_new_tokens", "min_tokens": "min_new_tokens",
    "seed": "sampling_seed",
  ]
  private static let sameName: Set<String> = [
    "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias",
    "stop", "stop_token_ids", "ignore_eos", "skip_special_tokens", "spaces_between_special_tokens", "no_stop_trim",
    "json_schema", "regex", "ebnf", "stop_regex",
  ]
  /// Accounting and routing fields of clients, without effect on the response.
  private static let hints: Set<String> = [
    "user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier", "return_meta_info",
  ]
  private static let unsupported: Set<String> = [
    "structural_tag", "suffix", "return_hidden_states", "return_routed_experts",
    "reasoning_effort", "modalities", "audio", "functions", "function_call",
  ]

  /// - Parameter own: further fields that the route reads.
  init(_ fields: Fields, own: Set<String>, defaultMaxTokens: Int?) throws(InvalidRequest) {
    try fields.refuse(Self.unsupported)
    try fields.expectOnly(
      Self.sameName.union(Self.renamed.keys).union(Self.hints).union(Self.unsupported).union(own).union([
        "model", "n", "best_of", "stream", "stream_options", "rid", "return_token_ids", "return_prompt_token_ids",
        "response_format", "priority", "extra_key", "cache_salt", "lora_path",
      ]))
    model = try fields.string("model")
    samples = try fields.int("n") ?? 1
    guard samples >= 1 else { throw InvalidRequest("n must be at least 1, got \(samples).") }
    if let best = try fields.int("best_of"), best != samples {
      throw InvalidRequest("best_of is not supported by this server; leave it out.")
    }
    streams = try fields.bool("stream") ?? false
    includeUsage = try fields.object("stream_options")?["include_usage"]?.bool ?? false
    name = try fields.string("rid")
    (priority, extraKey) = (try fields.int("priority"), try fields.string("extra_key"))
    (cacheSalt, adapter) = (try fields.string("cache_salt"), try fields.string("lora_path"))
    let (tokenIDs, promptTokenIDs) = (try fields.bool("return_token_ids"), try fields.bool("return_prompt_token_ids"))
    returnTokenIDs = tokenIDs ?? false || promptTokenIDs ?? false

    var parameters: JSONObject = [:]
    for (key, value) in fields.object.pairs where !value.isNull {
      if let name = Self.renamed[key] { parameters[name] = value } else if Self.sameName.contains(key) { parameters[key] = value }
    }
    maxTokens = try Fields(.object(parameters)).int("max_new_tokens")
    if parameters["max_new_tokens"] == nil { parameters["max_new_tokens"] = defaultMaxTokens.map(JSONValue.int) ?? .null }
    sampling = try SamplingParameters(json: .object(parameters))
    if let schema = try Self.responseSchema(fields) {
      guard sampling.jsonSchema == nil, sampling.regex == nil, sampling.ebnf == nil else {
        throw InvalidRequest("Only one of response_format, json_schema, regex and ebnf may be given.")
      }
      sampling.jsonSchema = schema
    }
  }

  /// The JSON schema that `response_format` asks for, if any.
  private static func responseSchema(_ fields: Fields) throws(InvalidRequest) -> String? {
    guard let format = try fields.object("response_format") else { return nil }
    switch format["type"] {
    case "text": return nil
    case "json_object": return #"{"type":"object"}"#
    case "json_schema":
      guard let schema = format["json_schema"]?["schema"], schema.object != nil || schema.bool != nil else {
        throw InvalidRequest("response_format of type json_schema needs an object json_schema with a schema in it.")
      }
      return schema.text()
    case let type:
      throw InvalidRequest(
        "response_format of type \((type ?? .null).text()) is not supported by this server; "
          + "use text, json_object or json_schema.")
    }
  }
}

/// An OpenAI request as requests for the engine, all samples of a prompt in a row.
struct OpenAISubmission {
  var requests: [GenerateRequest] = []
  var names: RequestNames

  init(
    _ prompts: [[Int]], _ options: OpenAIOptions, adapter: String?, logProbs: Bool, topLogProbs: Int,
    promptLogProbs: Bool, images: [Data] = [], limits: RequestLimits
  ) throws(InvalidRequest) {
    names = RequestNames(
      options.name.map(RequestNames.Given.one) ?? .none, prompts: prompts.count, samples: options.samples,
      isBatch: prompts.count > 1)
    for (prompt, tokens) in prompts.enumerated() {
      try limits.checkContext(promptTokens: tokens.count, maxNewTokens: options.maxTokens)
      for sample in 0..<options.samples {
        var request = GenerateRequest(
          id: names.ids[prompt * options.samples + sample], tokens: tokens, sampling: options.sampling.ofSample(sample),
          returnLogProbs: logProbs, logProbStart: promptLogProbs ? 0 : nil, topLogProbs: topLogProbs,
          priority: options.priority, extraKey: options.extraKey, cacheSalt: options.cacheSalt, adapter: adapter)
        request.images = images
        try limits.check(request)
        requests.append(request)
      }
    }
  }
}
