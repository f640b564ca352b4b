import Foundation
import JSON

extension Sample {
  /// - Throws: `SampleError` naming the field that is of the wrong kind or does not fit the others.
  public init(json: JSONValue) throws(SampleError) {
    guard let object = json.object else { throw SampleError("a sample must be an object, not \(json.kind)") }
    var fields = FieldReader(object)
    let prompt = try fields.take("prompt", "a string or an array of messages") { value in
      value.string.map(Prompt.text) ?? value.array.map(Prompt.messages)
    }
    self.init(prompt: prompt ?? .text(""))
    groupIndex = try fields.int("group_index")
    index = try fields.int("index")
    rolloutID = try fields.int("rollout_id")
    tokens = try fields.array("tokens", of: "integers", \.int) ?? []
    response = try fields.string("response") ?? ""
    responseLength = try fields.int("response_length") ?? 0
    if let inputs = try fields.object("multimodal_inputs") {
      var inputs = FieldReader(inputs)
      images = try inputs.array("images", of: "paths or data URIs", \.string) ?? []
      if let other = inputs.remaining.keys.first {
        throw SampleError("field 'multimodal_inputs' has '\(other)'; only images are supported")
      }
    }
    label = try fields.take("label", "any value") { $0 }
    reward = try fields.take("reward", "a number or an object") { value in
      value.double.map(Reward.number) ?? value.object.map(Reward.values)
    }
    lossMask = try fields.array("loss_mask", of: "integers", \.int)
    weightVersions = try fields.array("weight_versions", of: "strings", \.string) ?? []
    rolloutLogProbs = try fields.array("rollout_log_probs", of: "numbers") { $0.double.map { Float($0) } }
    teacherLogProbs = try fields.array("teacher_log_probs", of: "numbers") { $0.double.map { Float($0) } }
    rolloutRoutedExperts = try fields.take("rollout_routed_experts", "base64 of int32, or arrays of integers") { value in
      value.string.map { Data(base64Encoded: $0) } ?? int32Bytes(value)
    }
    removeSample = try fields.bool("remove_sample") ?? false
    status = try fields.take("status", "one of " + Status.allCases.map(\.rawValue).joined(separator: ", ")) {
      $0.string.flatMap(Status.init)
    } ?? .pending
    metadata = try fields.object("metadata") ?? [:]
    chatTemplateArguments = try fields.object("apply_chat_template_kwargs")
    generateFunctionPath = try fields.string("generate_function_path")
    customRewardPath = try fields.string("custom_rm_path")
    trainMetadata = try fields.object("train_metadata")
    sessionID = try fields.string("session_id")
    nonGenerationTime = try fields.double("non_generation_time") ?? 0
    speculation = try SpeculationCounts(json: fields.object("spec_info") ?? [:])
    prefixCache = try PrefixCacheCounts(json: fields.object("prefix_cache_info") ?? [:])
    extra = fields.remaining
    try checkLengths()
  }

  private func checkLengths() throws(SampleError) {
    guard (0...tokens.count).contains(responseLength) else {
      throw SampleError("field 'response_length' is \(responseLength), but there are \(tokens.count) tokens")
    }
    let perToken = [
      ("loss_mask", lossMask?.count), ("rollout_log_probs", rolloutLogProbs?.count),
      ("teacher_log_probs", teacherLogProbs?.count),
    ]
    for (name, count) in perToken where count != nil && count != responseLength {
      throw SampleError("field '\(name)' has \(count!) values, but response_length is \(responseLength)")
    }
    if let other = lossMask?.first(where: { $0 != 0 && $0 != 1 }) {
      throw SampleError("field 'loss_mask' must hold 0 and 1, not \(other)")
    }
    // Trainers hold token ids in 32 bits.
    if let token = tokens.first(where: { $0 < 0 || $0 > Int(Int32.max) }) {
      throw SampleError("field 'tokens' holds \(token), which is no token id")
    }
  }

  public var json: JSONValue {
    func optional<Value>(_ value: Value?, _ convert: (Value) -> JSONValue) -> JSONValue { value.map(convert) ?? .null }
    var object: JSONObject = [
      "group_index": optional(groupIndex, JSONValue.int),
      "index": optional(index, JSONValue.int),
      "rollout_id": optional(rolloutID, JSONValue.int),
      "prompt": prompt.json,
      "tokens": .array(tokens.map(JSONValue.int)),
      "response": .string(response),
      "response_length": .int(responseLength),
      "label": label ?? .null,
      "reward": optional(reward, \.json),
      "loss_mask": optional(lossMask) { .array($0.map(JSONValue.int)) },
      "weight_versions": .array(weightVersions.map(JSONValue.string)),
      "rollout_log_probs": optional(rolloutLogProbs, floats),
      "remove_sample": .bool(removeSample),
      "teacher_log_probs": optional(teacherLogProbs, floats),
      "status": .string(status.rawValue),
      "metadata": .object(metadata),
      "apply_chat_template_kwargs": optional(chatTemplateArguments, JSONValue.object),
      "generate_function_path": optional(generateFunctionPath, JSONValue.string),
      "custom_rm_path": optional(customRewardPath, JSONValue.string),
      "train_metadata": optional(trainMetadata, JSONValue.object),
      "session_id": optional(sessionID, JSONValue.string),
      "non_generation_time": .double(nonGenerationTime),
      "spec_info": speculation.json,
      "prefix_cache_info": prefixCache.json,
    ]
    if !images.isEmpty { object["multimodal_inputs"] = ["images": .array(images.map(JSONValue.string))] }
    if let rolloutRoutedExperts {
      object["rollout_routed_experts"] = .string(rolloutRoutedExperts.base64EncodedString())
    }
    for (key, value) in extra.pairs { object[key] = value }
    return .object(object)
  }
}

/// The integers of nested arrays, in order, as little-endian int32; nil where there is something else.
private func int32Bytes(_ value: JSONValue) -> Data? {
  if let number = value.int.flatMap(Int32.init(exactly:)) { return withUnsafeBytes(of: number) { Data($0) } }
  guard let parts = value.array?.map(int32Bytes), !parts.contains(nil) else { return nil }
  return parts.reduce(into: Data()) { $0 += $1! }
}

/// The shortest decimals that read back as the same 32-bit numbers.
private func floats(_ values: [Float]) -> JSONValue {
  .array(values.map { .double($0.isFinite ? Double($0.description)! : Double($0)) })
}

extension Prompt {
  var json: JSONValue {
    switch self {
    case .text(let text): .string(text)
    case .messages(let messages): .array(messages)
    }
  }
}

extension Reward {
  var json: JSONValue {
    switch self {
    case .number(let value): .double(value)
    case .values(let values): .object(values)
    }
  }
}

extension SpeculationCounts {
  init(json: JSONObject) throws(SampleError) {
    var fields = FieldReader(json)
    acceptedTokens = try fields.int("spec_accept_token_num") ?? 0
    draftedTokens = try fields.int("spec_draft_token_num") ?? 0
    verifications = try fields.int("spec_verify_ct") ?? 0
    completionTokens = try fields.int("completion_token_num") ?? 0
  }

  var json: JSONValue {
    [
      "spec_accept_token_num": .int(acceptedTokens), "spec_draft_token_num": .int(draftedTokens),
      "spec_verify_ct": .int(verifications), "completion_token_num": .int(completionTokens),
    ]
  }
}

extension PrefixCacheCounts {
  init(json: JSONObject) throws(SampleError) {
    var fields = FieldReader(json)
    cachedTokens = try fields.int("cached_tokens") ?? 0
    promptTokens = try fields.int("total_prompt_tokens") ?? 0
  }

  var json: JSONValue { ["cached_tokens": .int(cachedTokens), "total_prompt_tokens": .int(promptTokens)] }
}
