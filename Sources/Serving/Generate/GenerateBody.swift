import Foundation
import Inference
import JSON

/// What an engine can take, for checks before a request reaches it.
struct RequestLimits {
  var vocabularySize: Int
  var contextLength: Int
  var tokenCapacity: Int
  private let adapters: [AdapterDescription]?
  private let takesImages: Bool

  init(_ status: EngineStatus) {
    (vocabularySize, contextLength) = (status.vocabularySize, status.contextLength)
    tokenCapacity = status.totalPages * status.pageSize
    adapters = status.adapters
    takesImages = status.takesImages
  }

  func check(_ request: GenerateRequest) throws(InvalidRequest) {
    try request.validate(vocabularySize: vocabularySize, contextLength: contextLength, tokenCapacity: tokenCapacity)
    try request.checkAdapter(among: adapters)
    guard takesImages || request.images.isEmpty else {
      throw InvalidRequest("This model takes no pictures, and the request has \(request.images.count); leave them out.")
    }
  }

  /// A client that asks for more tokens than the context has is told so, as by SGLang.
  func checkContext(promptTokens: Int, maxNewTokens: Int?) throws(InvalidRequest) {
    guard let maxNewTokens, maxNewTokens >= 0, maxNewTokens > contextLength - promptTokens else { return }
    throw InvalidRequest(
      "The prompt has \(promptTokens) tokens and \(maxNewTokens) more are asked for, but the model's context length is "
        + "\(contextLength) tokens; shorten the prompt or ask for fewer.")
  }
}

/// The body of `/generate`, as requests for the engine.
struct GenerateBody {
  /// One for each response, all samples of a prompt in a row.
  var requests: [GenerateRequest] = []
  /// Ids that stand for several requests: `x` for `x_0`, `x_1`, …
  var groups: [String: [String]] = [:]
  /// Whether the response is an array.
  var isBatch: Bool
  var streams: Bool
  /// A stream's chunk for every so many tokens.
  var streamInterval: Int
  var textInLogProbs: Bool
  var promptTokenIDs: Bool

  /// Has a meaning only in SGLang: logging and routing hints that do not change what is generated.
  private static let hints: Set<String> = [
    "log_metrics", "no_logs", "background", "custom_labels", "conversation_id", "session_id", "routing_key",
    "routed_dp_rank", "data_parallel_rank", "bootstrap_host", "bootstrap_port", "bootstrap_room",
  ]
  private static let unsupported: Set<String> = [
    "input_embeds", "video_data", "audio_data", "custom_logit_processor", "session_params",
    "return_indexer_topk", "return_sampling_mask", "return_entropy",
    "sampling_logprobs_mode", "return_flat_raw_top_logprobs",
  ]
  private static let known: Set<String> = hints.union(unsupported).union([
    "text", "input_ids", "image_data", "sampling_params", "rid", "return_logprob", "logprob_start_len", "top_logprobs_num",
    "token_ids_logprob", "return_text_in_logprobs", "stream", "return_prompt_token_ids",
    "return_hidden_states", "return_routed_experts", "routed_experts_start_len", "priority", "extra_key", "cache_salt",
    "lora_path",
  ])

  /// - Throws: `InvalidRequest`, or what the tokenizer throws.
  init(json: JSONValue, encoder: (any PromptEncoder)?, limits: RequestLimits) throws {
    let fields = try Fields(json)
    try fields.refuse(Self.unsupported)
    try fields.expectOnly(Self.known)
    let prompts = try Prompts(fields, encoder)
    streams = try fields.bool("stream") ?? false
    textInLogProbs = try fields.bool("return_text_in_logprobs") ?? false
    promptTokenIDs = try fields.bool("return_prompt_token_ids") ?? false

    let count = prompts.tokens.count
    let parameters = try Self.perPrompt(fields, "sampling_params", count, prompts.isBatch, "an object") { value in
      value.object.map { _ in value }
    } ?? Array(repeating: .object([:]), count: count)
    let options = try Fields(parameters[0], prefix: "sampling_params.")
    let samples = try options.int("n") ?? 1
    streamInterval = try options.int("stream_interval") ?? 1
    guard samples >= 1 else { throw InvalidRequest("sampling_params.n must be at least 1, got \(samples).") }
    guard streamInterval >= 1 else {
      throw InvalidRequest("sampling_params.stream_interval must be at least 1, got \(streamInterval).")
    }
    guard parameters.allSatisfy({ ($0["n"]?.int ?? 1) == samples }) else {
      throw InvalidRequest("sampling_params.n must be the same for all prompts of a batch.")
    }
    isBatch = prompts.isBatch || samples > 1

    let returnLogProbs = try Self.perPrompt(fields, "return_logprob", count, isBatch, "true or false", \.bool)
    let starts = try Self.perPrompt(fields, "logprob_start_len", count, isBatch, "an integer", \.int)
    let tops = try Self.perPrompt(fields, "top_logprobs_num", count, isBatch, "an integer", \.int)
    let returnsExperts = try Self.perPrompt(fields, "return_routed_experts", count, isBatch, "true or false", \.bool)
    let expertStarts = try Self.perPrompt(fields, "routed_experts_start_len", count, isBatch, "an integer", \.int)
    let hiddenStates = try Self.perPrompt(
      fields, "return_hidden_states", count, isBatch, "true, false or \"last\"", Self.hiddenStates)
    let tokenIDs = try Self.tokenIDsLogProb(fields, count)
    let priorities = try Self.perPrompt(fields, "priority", count, isBatch, "an integer", \.int)
    let extraKeys = try Self.perPrompt(fields, "extra_key", count, isBatch, "a string", \.string)
    let cacheSalts = try Self.perPrompt(fields, "cache_salt", count, isBatch, "a string", \.string)
    let adapters = try Self.adapters(fields, count, prompts.isBatch)
    let images = try RequestPictures.perPrompt(fields["image_data"], count: count, isBatch: prompts.isBatch)
    let names = RequestNames(try Self.names(fields, count), prompts: count, samples: samples, isBatch: prompts.isBatch)
    groups = names.groups

    for prompt in 0..<count {
      let sampling = try SamplingParameters(json: parameters[prompt])
      try limits.checkContext(
        promptTokens: prompts.tokens[prompt].count, maxNewTokens: parameters[prompt]["max_new_tokens"]?.int)
      for sample in 0..<samples {
        var request = GenerateRequest(
          id: names.ids[prompt * samples + sample], tokens: prompts.tokens[prompt], sampling: sampling.ofSample(sample),
          returnLogProbs: returnLogProbs?[prompt] ?? false, logProbStart: starts?[prompt] == -1 ? nil : starts?[prompt],
          topLogProbs: tops?[prompt] ?? 0, tokenIDsLogProb: tokenIDs?[prompt] ?? [],
          routedExpertsStart: returnsExperts?[prompt] == true ? expertStarts?[prompt] ?? 0 : nil,
          priority: priorities?[prompt], extraKey: extraKeys?[prompt], cacheSalt: cacheSalts?[prompt],
          adapter: adapters?[prompt])
        request.hiddenStates = hiddenStates?[prompt] ?? nil
        request.images = images[prompt]
        try limits.check(request)
        requests.append(request)
      }
    }
  }

  /// A field that is one value for all prompts or, in a batch, an array with one for each.
  private static func perPrompt<T>(
    _ fields: Fields, _ key: String, _ count: Int, _ isBatch: Bool, _ expected: String, _ read: (JSONValue) -> T?
  ) throws(InvalidRequest) -> [T]? {
    guard let value = fields[key] else { return nil }
    if let one = read(value) { return Array(repeating: one, count: count) }
    guard isBatch, let array = value.array else {
      throw InvalidRequest("\(key) must be \(expected), got \(value.kind).")
    }
    let values = array.compactMap(read)
    guard values.count == array.count else { throw InvalidRequest("each element of \(key) must be \(expected).") }
    guard values.count == count else {
      throw InvalidRequest("\(key) has \(values.count) elements for \(count) prompts; give one for each, or one value for all.")
    }
    return values
  }

  /// `lora_path`: an adapter's name for all prompts, or one or null for each.
  private static func adapters(_ fields: Fields, _ count: Int, _ isBatch: Bool) throws(InvalidRequest) -> [String?]? {
    try perPrompt(fields, "lora_path", count, isBatch, "an adapter's name or null") { value -> String?? in
      value.isNull ? .some(nil) : value.string.map(Optional.some)
    }
  }

  private static func hiddenStates(_ value: JSONValue) -> HiddenStatesRequest?? {
    if value.string == "last" { return .some(.last) }
    return value.bool.map { $0 ? .all : nil }
  }

  private static func tokenIDsLogProb(_ fields: Fields, _ count: Int) throws(InvalidRequest) -> [[Int]]? {
    guard let array = try fields.array("token_ids_logprob") else { return nil }
    if let ids = JSONValue.array(array).ints { return Array(repeating: ids, count: count) }
    return try perPrompt(fields, "token_ids_logprob", count, true, "an array of integers", \.ints)
  }

  private static func names(_ fields: Fields, _ count: Int) throws(InvalidRequest) -> RequestNames.Given {
    guard let value = fields["rid"] else { return .none }
    if let name = value.string { return .one(name) }
    guard let names = value.strings else {
      throw InvalidRequest("rid must be a string or an array of strings, got \(value.kind).")
    }
    guard names.count == count else {
      throw InvalidRequest("rid has \(names.count) elements for \(count) prompts; give one for each, or one string.")
    }
    return .each(names)
  }
}

/// The prompts of a request: exactly one of `text` and `input_ids`.
private struct Prompts {
  var tokens: [[Int]]
  var isBatch: Bool

  init(_ fields: Fields, _ encoder: (any PromptEncoder)?) throws {
    switch (fields["text"], fields["input_ids"]) {
    case (let text?, nil):
      guard let encoder else {
        throw InvalidRequest("This server has no tokenizer; send input_ids instead of text.")
      }
      guard let texts = try fields.strings("text"), !texts.isEmpty, !texts.contains("") else {
        throw InvalidRequest("text cannot be empty.")
      }
      isBatch = text.array != nil
      tokens = try texts.map(encoder.encode)
    case (nil, let ids?):
      if let prompt = ids.ints {
        (tokens, isBatch) = ([prompt], false)
      } else if let prompts = ids.array?.compactMap(\.ints), prompts.count == ids.array?.count {
        (tokens, isBatch) = (prompts, true)
      } else {
        throw InvalidRequest("input_ids must be an array of integers, or an array of such arrays.")
      }
    case (nil, nil): throw InvalidRequest("Either text or input_ids is needed.")
    default: throw InvalidRequest("Only one of text and input_ids may be given.")
    }
    guard tokens.allSatisfy({ !$0.isEmpty }) else { throw InvalidRequest("input_ids cannot be empty.") }
  }
}
