import Foundation
import Inference
import JSON
import TestSupport
import Testing

/// Pictures on their way from a client to an engine.
@Suite struct PictureTests {
  private static let names = ["00-rgb.png", "01-rgb.jpeg", "02-rgb.webp"]
  private static let pictures = names.map { try! Data(contentsOf: fixture("images/\($0)")) }
  private static let uris = zip(pictures, ["png", "jpeg", "webp"]).map { "data:image/\($1);base64," + $0.base64EncodedString() }

  private func quoted(_ texts: [String]) -> String { texts.map { "\"\($0)\"" }.joined(separator: ",") }

  @Test func generateTakesPictures() async throws {
    let engine = FakeEngine(takesImages: true)
    let (uris, pictures) = (Self.uris, Self.pictures)
    let path = fixture("images/\(Self.names[2])").path
    try await withClient(engine) { client in
      func images(_ prompt: String, _ imageData: String) async throws -> [[Data]] {
        let id = "\(UUID())"
        let isBatch = prompt.hasPrefix("\"text\":[")
        let body = #"{\#(prompt),"image_data":\#(imageData),"rid":"\#(id)","sampling_params":{"max_new_tokens":1}}"#
        let answer = try await client.send(.post, "/generate", body)
        #expect(answer.status == 200, "\(answer.body)")
        let requests = engine.snapshot.requests
        return isBatch ? (0..<2).map { requests["\(id)_\($0)"]!.images } : [requests[id]!.images]
      }
      let (one, two) = (#""text":"a""#, #""text":["a","b"]"#)
      let cases: [(String, String, [[Data]])] = [
        (one, "\"\(uris[0])\"", [[pictures[0]]]), (one, "[\(self.quoted([uris[1], path]))]", [[pictures[1], pictures[2]]]),
        (one, #"{"url":"\#(uris[0])"}"#, [[pictures[0]]]), (one, "null", [[]]),
        (two, "[\"\(uris[0])\",[\(self.quoted([uris[1], uris[2]]))]]", [[pictures[0]], [pictures[1], pictures[2]]]),
        (two, "[null,\"\(uris[2])\"]", [[], [pictures[2]]]), (two, "\"\(uris[2])\"", [[pictures[2]], [pictures[2]]]),
      ]
      for (prompt, imageData, wanted) in cases {
        let found = try await images(prompt, imageData)
        #expect(found == wanted)
      }
    }
  }

  @Test func chatTakesPictures() async throws {
    let engine = FakeEngine(takesImages: true)
    let (uris, pictures) = (Self.uris, Self.pictures)
    try await withClient(engine) { client in
      func picture(_ uri: String) -> String { #"{"type":"image_url","image_url":{"url":"\#(uri)"}}"# }
      let body = #"""
        {"rid":"x","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"a"},\#(picture(uris[0]))]},
        {"role":"assistant","content":"b"},{"role":"user","content":[\#(picture(uris[2])),\#(picture(uris[1]))]}]}
        """#
      let answer = try await client.send(.post, "/v1/chat/completions", body)
      #expect(answer.status == 200, "\(answer.body)")
      #expect(engine.snapshot.requests["x"]?.images == [pictures[0], pictures[2], pictures[1]])
    }
  }

  @Test func whatIsNoPictureIsRefused() async throws {
    let uri = Self.uris[0]
    let bad: [(Bool, String, String)] = [
      (true, #""/nowhere/a.png""#, "cannot be read"), (true, "5", "image_data must be"),
      (true, #""data:image/png;base64,AAAA""#, "neither PNG, JPEG nor WebP"), (true, #"[["a"]]"#, "image_data must be"),
      (true, #""https://example.org/a.png""#, "not fetched"), (false, "\"\(uri)\"", "takes no pictures"),
    ]
    for (takesImages, imageData, complaint) in bad {
      try await withClient(FakeEngine(takesImages: takesImages)) { client in
        let answer = try await client.send(.post, "/generate", #"{"text":"a","image_data":\#(imageData)}"#)
        #expect(answer.status == 400 && answer.body.contains(complaint), "\(answer.status) \(answer.body)")
      }
    }
    try await withClient(FakeEngine(takesImages: true)) { client in
      let answer = try await client.send(.post, "/generate", #"{"text":["a","b"],"image_data":["\#(uri)"]}"#)
      #expect(answer.status == 400 && answer.body.contains("1 elements for 2 prompts"), "\(answer.body)")
    }
  }
}
