import Foundation
import Inference
import JSON
import TestSupport

/// What the clients of `LiveEngineTests` do; a function of the seed and the client's number. Blocks.
struct Visits: Sendable {
  let seed: UInt64
  /// Tokens of a response that only an abort ends in time.
  let longest: Int
  /// The greedy responses to `prompts`.
  var expected: [[Int]] = []

  init(seed: UInt64, longest: Int) { (self.seed, self.longest) = (seed, longest) }

  static let prompts: [[Int]] = (1...6).map { count in (0..<count * 13).map { ($0 * 31 + count * 7) % 400 } }

  static func request(_ prompt: [Int]) -> GenerateRequest {
    var sampling = SamplingParameters()
    (sampling.temperature, sampling.maxNewTokens, sampling.ignoreEOS) = (0, 20, true)
    return GenerateRequest(id: UUID().uuidString, tokens: prompt, sampling: sampling)
  }

  /// - Returns: what went wrong.
  func visit(_ index: Int, _ port: Int) throws -> String? {
    var random = SeededGenerator(state: seed &* 1_000_003 &+ UInt64(index))
    let name = "c\(index)"
    switch index % 8 {
    case 0: return try stay(index % expected.count, port, streams: false, name: name)
    case 1: return try stay(index % expected.count, port, streams: true, name: name)
    case 2: try leaveAStream(port, prompts: Bool.random(using: &random) ? 1 : 3, name, &random)
    case 3: try leaveWhileWaiting(port, name, &random)
    case 4: return try beAborted(port, name)
    case 5: return try misspeak(port, &random)
    case 6: try leaveAChat(port, &random)
    default: try breakOff(port, name, &random)
    }
    return nil
  }

  // MARK: Well-behaved

  func stay(_ index: Int, _ port: Int, streams: Bool, name: String) throws -> String? {
    let client = try SocketClient(port: port)
    let body: JSONValue = [
      "input_ids": ids(Self.prompts[index]), "rid": .string(name), "stream": .bool(streams),
      "sampling_params": ["temperature": 0, "max_new_tokens": 20, "ignore_eos": true],
    ]
    client.post("/generate", body.text())
    guard let answer = try client.answer(), answer.status == 200 else { return "\(name): no answer with status 200" }
    var text = answer.text
    if streams {
      let events = text.components(separatedBy: "\n\n").filter { !$0.isEmpty }
      guard events.count > 1, events.last == "data: [DONE]" else { return "\(name): no stream but \(text)" }
      text = String(events[events.count - 2].dropFirst("data: ".count))
    }
    let found = try JSONValue(parsing: text)["output_ids"]
    return found == ids(expected[index]) ? nil : "\(name): \(found?.text() ?? text) instead of \(expected[index])"
  }

  private func beAborted(_ port: Int, _ name: String) throws -> String? {
    let client = try SocketClient(port: port)
    client.post("/generate", long(prompts: 1, name, streams: true))
    guard let head = try client.head(), head.status == 200, var last = try client.chunk() else { return "\(name): no stream" }
    let other = try SocketClient(port: port)
    other.post("/abort_request", #"{"rid":"\#(name)"}"#)
    guard try other.answer()?.status == 200 else { return "\(name): cannot be aborted" }
    var all = last
    while let chunk = try client.chunk() { (last, all) = (chunk, all + chunk) }
    let text = String(decoding: all, as: UTF8.self)
    return text.contains(#""type":"abort""#) && text.hasSuffix("data: [DONE]\n\n") ? nil : "\(name): not aborted: \(text.suffix(200))"
  }

  // MARK: Leaving

  private func leaveAStream(_ port: Int, prompts: Int, _ name: String, _ random: inout SeededGenerator) throws {
    let client = try SocketClient(port: port)
    client.post("/generate", long(prompts: prompts, name, streams: true))
    if let head = try client.head(), head.isChunked {
      for _ in 0..<Int.random(in: 0...5, using: &random) { _ = try client.chunk() }
    }
    client.close(reset: Bool.random(using: &random))
  }

  private func leaveWhileWaiting(_ port: Int, _ name: String, _ random: inout SeededGenerator) throws {
    let client = try SocketClient(port: port)
    client.post("/generate", long(prompts: 1, name, streams: false))
    usleep(UInt32.random(in: 0...30_000, using: &random))
    client.close(reset: Bool.random(using: &random))
  }

  private func leaveAChat(_ port: Int, _ random: inout SeededGenerator) throws {
    let client = try SocketClient(port: port)
    client.post(
      "/v1/chat/completions",
      #"{"model":"m","messages":[{"role":"user","content":"héllo 🌍"}],"stream":true,"ignore_eos":true,"max_tokens":\#(longest)}"#)
    if let head = try client.head(), head.isChunked {
      for _ in 0..<Int.random(in: 1...4, using: &random) { _ = try client.chunk() }
    }
    client.close()
  }

  /// Leaves in the middle of a request, or with requests that it never reads the answers to.
  private func breakOff(_ port: Int, _ name: String, _ random: inout SeededGenerator) throws {
    let client = try SocketClient(port: port)
    let body = long(prompts: 1, name, streams: Bool.random(using: &random))
    if Bool.random(using: &random) {
      client.post("/generate", Array(body.utf8.prefix(Int.random(in: 0..<body.utf8.count, using: &random))), length: body.utf8.count)
    } else {
      client.post("/generate", body)
      client.post("/generate", long(prompts: 2, name + "-again", streams: true))
    }
    usleep(UInt32.random(in: 0...10_000, using: &random))
    client.close(reset: Bool.random(using: &random))
  }

  // MARK: No requests

  private static let malformed: [(path: String, body: String)] = [
    ("/generate", "{"), ("/generate", ""), ("/generate", "[]"), ("/generate", "null"), ("/generate", #""text""#),
    ("/generate", #"{"text":1}"#), ("/generate", #"{"text":""}"#), ("/generate", #"{"text":"a","input_ids":[1]}"#),
    ("/generate", #"{"input_ids":[]}"#), ("/generate", #"{"input_ids":[-1]}"#), ("/generate", #"{"input_ids":[416]}"#),
    ("/generate", #"{"input_ids":[1.5]}"#), ("/generate", #"{"input_ids":[[1],["a"]]}"#),
    ("/generate", #"{"input_ids":[1],"nonsense":true}"#), ("/generate", #"{"input_ids":[1],"stream":"yes"}"#),
    ("/generate", #"{"input_ids":[1],"sampling_params":{"temperature":-1}}"#),
    ("/generate", #"{"input_ids":[1],"sampling_params":{"temperature":1e999}}"#),
    ("/generate", #"{"input_ids":[1],"sampling_params":{"max_new_tokens":"many"}}"#),
    ("/generate", #"{"input_ids":[1],"sampling_params":{"max_new_tokens":99999999999999999999}}"#),
    ("/generate", #"{"input_ids":[1],"sampling_params":{"n":0}}"#),
    ("/generate", #"{"input_ids":[1],"sampling_params":{"stop":[""]}}"#),
    ("/generate", #"{"input_ids":[[1],[2]],"rid":["same","same"]}"#), ("/generate", "{\"text\":\"\u{1}\"}"),
    ("/generate", String(repeating: "[", count: 100_000)), ("/v1/completions", "{}"), ("/v1/completions", #"{"prompt":{}}"#),
    ("/v1/chat/completions", #"{"messages":[]}"#), ("/v1/chat/completions", #"{"messages":"hi"}"#),
    ("/v1/chat/completions", #"{"messages":[{"role":"user"}]}"#), ("/abort_request", "[1"), ("/nowhere", "{}"),
  ]

  /// Each is answered with a status of 400 to 499 on a connection that goes on; noise on a connection may close it.
  private func misspeak(_ port: Int, _ random: inout SeededGenerator) throws -> String? {
    let client = try SocketClient(port: port)
    for (path, body) in Self.malformed.shuffled(using: &random).prefix(10) {
      client.post(path, body)
      guard let answer = try client.answer(), (400..<500).contains(answer.status) else {
        return "\(path) with \(body.prefix(60)) is not refused"
      }
    }
    client.post("/generate", [0x7B, 0x22, 0xFF, 0xFE, 0x22, 0x3A, 0x31, 0x7D])
    guard try client.answer()?.status == 400 else { return "invalid UTF-8 is not refused" }
    let noise = try SocketClient(port: port)
    noise.send((0..<200).map { _ in UInt8.random(in: 0...255, using: &random) } + Array("\r\n\r\n".utf8))
    _ = try? noise.answer()
    let huge = try SocketClient(port: port)
    huge.post("/generate", [], length: 1 << 50)
    if let status = try huge.answer()?.status, status != 413 { return "a body of 2^50 bytes is answered with \(status)" }
    return nil
  }

  // MARK: Bodies

  private func ids(_ tokens: [Int]) -> JSONValue { .array(tokens.map { .int($0) }) }

  private func long(prompts: Int, _ name: String, streams: Bool) -> String {
    let inputs = JSONValue.array((0..<prompts).map { ids(Self.prompts[$0]) })
    let body: JSONValue = [
      "input_ids": prompts == 1 ? ids(Self.prompts[0]) : inputs, "rid": .string(name), "stream": .bool(streams),
      "sampling_params": ["max_new_tokens": .int(longest), "ignore_eos": true],
    ]
    return body.text()
  }
}
