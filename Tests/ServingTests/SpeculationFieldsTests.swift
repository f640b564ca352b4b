import Inference
import JSON
import Serving
import Testing

@Test func finishedResponsesSayWhatBecameOfTheirDrafts() throws {
  var output = GenerateOutput(id: "a")
  output.outputTokens = [1, 2, 3, 4, 5, 6, 7]
  let request = GenerateRequest(id: "a", tokens: [1])
  func field(_ name: String) throws -> JSONValue? {
    try JSONValue(parsing: generateResponse(output, to: request))["meta_info"]?["spec_" + name]
  }
  var counts = SpeculationCounts()
  (counts.verifications, counts.proposedDrafts, counts.correctDrafts) = (4, 8, 2)
  output.speculation = counts
  #expect(try field("verify_ct") == nil, "only the last chunk says")
  output.finishReason = .length(7)
  #expect(try field("accept_rate")?.double == 0.25 && field("accept_length")?.double == 1.5)
  #expect(try field("verify_ct") == 4 && field("num_correct_drafts") == 2 && field("num_proposed_drafts") == 8)
  output.speculation = nil
  #expect(try field("accept_rate") == nil)
}
