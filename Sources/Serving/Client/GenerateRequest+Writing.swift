import Foundation
import Images
import Inference
import JSON

extension GenerateRequest {
  /// As the body of `/generate`. What is SGLang's default is left out, so that older releases need not know it.
  var json: JSONValue {
    var body: JSONObject = [
      "rid": .string(id), "input_ids": .array(tokens.map(JSONValue.int)), "sampling_params": .object(sampling.json),
      "return_logprob": .bool(returnLogProbs), "stream": false,
    ]
    if let logProbStart { body["logprob_start_len"] = .int(logProbStart) }
    if topLogProbs > 0 { body["top_logprobs_num"] = .int(topLogProbs) }
    if !tokenIDsLogProb.isEmpty { body["token_ids_logprob"] = .array(tokenIDsLogProb.map(JSONValue.int)) }
    if let routedExpertsStart {
      body["return_routed_experts"] = true
      if routedExpertsStart > 0 { body["routed_experts_start_len"] = .int(routedExpertsStart) }
    }
    if let hiddenStates { body["return_hidden_states"] = hiddenStates == .all ? true : "last" }
    if let priority { body["priority"] = .int(priority) }
    if let extraKey { body["extra_key"] = .string(extraKey) }
    if let cacheSalt { body["cache_salt"] = .string(cacheSalt) }
    if !images.isEmpty {
      body["image_data"] = .array(
        images.map { data in
          let kind = (try? ImageFormat(of: data))?.rawValue ?? "image/png"
          return .string("data:\(kind);base64," + data.base64EncodedString())
        })
    }
    if let adapter { body["lora_path"] = .string(adapter) }
    return .object(body)
  }
}

extension SamplingParameters {
  /// As SGLang's `sampling_params`: what slime always sends, and what is not the default.
  var json: JSONObject {
    let standard = SamplingParameters()
    var object: JSONObject = [
      "temperature": .double(temperature), "top_p": .double(topP), "top_k": .int(topK),
      "max_new_tokens": maxNewTokens.map(JSONValue.int) ?? nil, "skip_special_tokens": .bool(skipSpecialTokens),
      "spaces_between_special_tokens": .bool(spacesBetweenSpecialTokens), "no_stop_trim": .bool(noStopTrim),
    ]
    func add(_ key: String, _ isWanted: Bool, _ value: JSONValue) { if isWanted { object[key] = value } }
    add("min_new_tokens", minNewTokens != standard.minNewTokens, .int(minNewTokens))
    add("min_p", minP != standard.minP, .double(minP))
    add("frequency_penalty", frequencyPenalty != 0, .double(frequencyPenalty))
    add("presence_penalty", presencePenalty != 0, .double(presencePenalty))
    add("repetition_penalty", repetitionPenalty != 1, .double(repetitionPenalty))
    let biases = logitBias.sorted { $0.key < $1.key }.map { (String($0.key), JSONValue.double($0.value)) }
    add("logit_bias", !biases.isEmpty, .object(JSONObject(biases)))
    add("stop", !stop.isEmpty, .array(stop.map(JSONValue.string)))
    add("stop_token_ids", !stopTokenIDs.isEmpty, .array(stopTokenIDs.map(JSONValue.int)))
    add("ignore_eos", ignoreEOS, true)
    if let samplingSeed { object["sampling_seed"] = .int(samplingSeed) }
    if let jsonSchema { object["json_schema"] = .string(jsonSchema) }
    if let regex { object["regex"] = .string(regex) }
    if let ebnf { object["ebnf"] = .string(ebnf) }
    return object
  }
}
