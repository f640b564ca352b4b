import Foundation
import Inference
import JSON
import Serving
import WeightSync
import Testing

/// `return_hidden_states`, over a real engine.
@Suite struct HiddenStatesFieldsTests {
  @Test func areAnArrayOfThePromptAndOneForEachTokenThatFollows() async throws {
    var options = EngineOptions()
    options.returnsHiddenStates = true
    try await withTinyServer(options) { client, _ in
      func ask(_ wanted: JSONValue) async throws -> [JSONValue]? {
        let answer = try await client.generate([
          "input_ids": [5, 6, 7, 8], "return_hidden_states": wanted,
          "sampling_params": ["temperature": 0, "max_new_tokens": 3, "ignore_eos": true],
        ])
        #expect(answer.status == 200, "\(answer.body)")
        return answer.json["meta_info"]?["hidden_states"]?.array
      }
      func numbers(_ row: JSONValue?) -> [Double] { row?.array?.compactMap(\.double) ?? [] }
      let all = try #require(try await ask(true))
      #expect(all.count == 3 && all[0].array?.count == 4)
      for row in all[0].array! + all.dropFirst() { #expect(numbers(row).count == 32) }
      let last = try #require(try await ask("last"))
      #expect(last.count == 3 && last[0].array?.count == 1 && numbers(last[0].array?[0]).count == 32)
      for (one, other) in zip(numbers(last[0].array![0]) + numbers(last[2]), numbers(all[0].array![3]) + numbers(all[2])) {
        #expect(abs(one - other) < 1e-5)
      }
      #expect(try await ask(false) == nil)
      let bad = try await client.generate(["input_ids": [5], "return_hidden_states": "first"])
      #expect(bad.status == 400 && bad.message.contains("return_hidden_states must be true, false or \"last\""), "\(bad.body)")
    }
    try await withTinyServer { client, _ in
      let refused = try await client.generate(["input_ids": [5], "return_hidden_states": true])
      #expect(refused.status == 400 && refused.message.contains("--enable-return-hidden-states"), "\(refused.body)")
    }
  }

  /// What is written is read back as it was.
  @Test func areReadAsTheyAreWritten() async throws {
    let values: [Float] = [0.5, -1.25, 3e-8, 7, 0.1, 2]
    var output = GenerateOutput(id: "x")
    (output.outputTokens, output.finishReason) = ([8, 9], .length(2))
    output.hiddenStates = HiddenStates(values: values.withUnsafeBytes { Data($0) }, size: 2, promptCount: 2)
    var request = GenerateRequest(id: "x", tokens: [4, 5])
    request.hiddenStates = .all
    let answer = generateResponse(output, to: request)
    #expect(answer.contains("\"hidden_states\":[[[0.5,-1.25],[3e-08,7.0]],[0.1,2.0]]"), "\(answer)")
    let server = try ScriptedServer([
      [.read, .write("HTTP/1.1 200 OK\r\nContent-Length: \(answer.utf8.count)\r\n\r\n\(answer)"), .hang]
    ])
    let remote = RemoteGenerationEngine(try RemoteEngine("http://127.0.0.1:\(server.port)"))
    #expect(try await remote.generate(request).hiddenStates?.rows == output.hiddenStates?.rows)
  }
}
