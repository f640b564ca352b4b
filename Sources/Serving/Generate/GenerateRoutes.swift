import Hummingbird
import Inference
import JSON

extension ServerState {
  func addGenerateRoutes(to router: Router<ServingContext>) {
    for method in [HTTPRequest.Method.post, .put] {
      router.on("generate", method: method) { try await generate($0, $1) }
    }
  }

  private func generate(_ request: Request, _ context: ServingContext) async throws -> Response {
    let body = try GenerateBody(json: try await json(request), encoder: encoder, limits: RequestLimits(try await engine.status()))
    if body.textInLogProbs && encoder == nil {
      throw InvalidRequest("This server has no tokenizer, so return_text_in_logprobs cannot be served.")
    }
    var encoders = body.requests.map {
      GenerateEncoder(
        $0, texts: body.textInLogProbs ? encoder : nil, includesPrompt: body.promptTokenIDs,
        isIncremental: body.streams && configuration.incrementalStreamingOutput)
    }
    let scope = try RequestScope(body.requests.map(\.id), body.groups, self, context)
    if body.streams {
      let writer = GenerateEvents(encoders: encoders, isBatch: body.isBatch, interval: body.streamInterval)
      return eventStream(body.requests, writer, scope)
    }
    let outputs = try await outputs(of: body.requests, scope)
    guard body.isBatch else { return Response(jsonBytes: encoders[0].encode(outputs[0])) }
    var json = ByteWriter()
    for i in outputs.indices {
      if i == 0 { json.raw("[") } else { json.comma() }
      json.raw(encoders[i].encode(outputs[i]))
    }
    json.raw("]")
    return Response(jsonBytes: json.bytes)
  }
}

/// `/generate`'s stream: each event is the response so far, or what is new of it, with its place in a batch.
private struct GenerateEvents: EventWriter {
  var encoders: [GenerateEncoder]
  let isBatch: Bool
  let interval: Int
  private var sent: [Int]

  init(encoders: [GenerateEncoder], isBatch: Bool, interval: Int) {
    (self.encoders, self.isBatch, self.interval) = (encoders, isBatch, interval)
    sent = Array(repeating: 0, count: encoders.count)
  }

  mutating func events(_ index: Int, _ output: GenerateOutput) -> [[UInt8]] {
    let count = output.outputTokens.count
    guard output.finishReason != nil || sent[index] == 0 || count >= sent[index] + interval else { return [] }
    sent[index] = count
    return [encoders[index].encode(output, index: isBatch ? index : nil)]
  }

  mutating func closing() -> [[UInt8]] { [] }
}
