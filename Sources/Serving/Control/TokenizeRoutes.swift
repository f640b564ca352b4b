import Hummingbird
import Inference
import JSON

/// The tokenizer alone, as SGLang offers it.
extension ServerState {
  func addTokenizeRoutes(to router: Router<ServingContext>) {
    for path in ["tokenize", "v1/tokenize"] as [RouterPath] {
      router.post(path) { request, _ in Response(json: try await tokenize(Fields(try await json(request)))) }
    }
    for path in ["detokenize", "v1/detokenize"] as [RouterPath] {
      router.post(path) { request, _ in Response(json: try await detokenize(Fields(try await json(request)))) }
    }
  }

  private func tokenize(_ fields: Fields) async throws -> JSONValue {
    try fields.expectOnly(["model", "prompt", "add_special_tokens"])
    let encoder = try tokenizer()
    guard let texts = try fields.strings("prompt") else { throw InvalidRequest("prompt is needed.") }
    let addsSpecial = try fields.bool("add_special_tokens") ?? true
    let tokens = try texts.map { try encoder.encode($0, addSpecialTokens: addsSpecial) }
    let (lists, counts) = (tokens.map { JSONValue.array($0.map(JSONValue.int)) }, tokens.map { JSONValue.int($0.count) })
    let isOne = fields["prompt"]?.string != nil
    return [
      "tokens": isOne ? lists[0] : .array(lists), "count": isOne ? counts[0] : .array(counts),
      "max_model_len": .int(try await engine.status().contextLength),
    ]
  }

  private func detokenize(_ fields: Fields) async throws -> JSONValue {
    try fields.expectOnly(["model", "tokens", "skip_special_tokens"])
    let encoder = try tokenizer()
    guard let given = try fields.array("tokens") else { throw InvalidRequest("tokens is needed.") }
    let one = JSONValue.array(given).ints
    let lists = one.map { [$0] } ?? given.compactMap(\.ints)
    guard one != nil || lists.count == given.count else {
      throw InvalidRequest("tokens must be an array of integers, or an array of such arrays.")
    }
    let size = try await engine.status().vocabularySize
    if let token = lists.joined().first(where: { !(0..<size).contains($0) }) {
      throw InvalidRequest("tokens holds token id \(token), which is outside the vocabulary of \(size) tokens.")
    }
    let skips = try fields.bool("skip_special_tokens") ?? true
    let texts = lists.map { JSONValue.string(encoder.decode($0, skipSpecialTokens: skips)) }
    return ["text": one == nil ? .array(texts) : texts[0]]
  }

  private func tokenizer() throws(InvalidRequest) -> any PromptEncoder {
    guard let encoder else { throw InvalidRequest("This server has no tokenizer.") }
    return encoder
  }
}
