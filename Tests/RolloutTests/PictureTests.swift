import Foundation
import JSON
import Rollout
import TestSupport
import Testing
import Training

/// Pictures on their way from a dataset to an engine and to trainers.
@Suite struct PictureTests {
  private static let codec: PromptCodec = {
    var codec = PromptCodec(
      encode: { $0.utf8.map(Int.init) }, decode: { tokens, _ in "\(tokens.count)" },
      render: { conversation, _ in
        conversation.messages.map { message in
          message["content"]?.string
            ?? message["content"]!.array!.map { $0["type"] == "image" ? "#" : $0["text"]!.string! }.joined()
        }.joined(separator: "|")
      })
    // A picture takes as many tokens as there are digits in its bytes.
    codec.placeImages = { tokens, images in
      var images = images[...]
      return tokens.flatMap { $0 == 35 ? Array(repeating: 35, count: "\(images.removeFirst().count)".count) : [$0] }
    }
    return codec
  }()

  private func prompts(_ rows: [String], _ adjust: (inout PromptDataset.Options) -> Void = { _ in }) throws -> PromptDataset {
    try withTemporaryFolder { folder in
      var options = PromptDataset.Options()
      (options.imageKey, options.applyChatTemplate) = ("pictures", true)
      adjust(&options)
      let file = folder.appendingPathComponent("data.jsonl")
      try Data(rows.joined(separator: "\n").utf8).write(to: file)
      return try PromptDataset(path: file.path, options: options, codec: Self.codec)
    }
  }

  @Test func placesAreThoseOfTheText() throws {
    let made = try prompts([
      #"{"input":"a<image>b<image>","pictures":["x.png",{"path":"y.png"}]}"#, #"{"input":"plain"}"#,
      #"{"input":"<image>","pictures":"one.png"}"#,
      #"{"input":[{"role":"user","content":[{"type":"image","image":"own.png"},{"type":"text","text":"c"},{"type":"image"}]}],"pictures":["z.png"]}"#,
      #"{"input":[{"role":"user","content":"a <image> in words"}]}"#,
    ])
    #expect(made.prompts.map(\.images) == [["x.png", "y.png"], [], ["one.png"], ["own.png", "z.png"], []])
    #expect(made.prompts.map(\.prompt.text) == ["a#b#", "plain", "#", "#c#", "a <image> in words"])
  }

  @Test(arguments: [
    (#"{"input":"<image><image>","pictures":["x"]}"#, "more places"), (#"{"input":"a","pictures":["x"]}"#, "places for 0"),
    (#"{"input":"<image>","pictures":[5]}"#, "'pictures' must hold"),
    (#"{"input":[{"role":"user","content":[{"type":"video"}]}]}"#, "'video'"),
  ]) func whatDoesNotFitIsNamed(_ row: String, complaint: String) throws {
    let error = #expect(throws: DatasetError.self) { try prompts([row]) }
    #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
  }

  @Test func longPromptsCountPictures() throws {
    let path = fixture("images/00-rgb.png").path  // of four digits of bytes
    let row = #"{"input":"ab<image>","pictures":["\#(path)"]}"#
    #expect(try prompts([row, #"{"input":"a"}"#]) { $0.maximumPromptLength = 6 }.tooLong == 0)
    #expect(try prompts([row, #"{"input":"a"}"#]) { $0.maximumPromptLength = 5 }.tooLong == 1)
  }

  @Test func samplesCarryThem() async throws {
    let path = fixture("images/00-rgb.png")
    var sample = Sample(prompt: .text("ab#"))
    sample.images = [path.path]
    #expect(try Sample(json: sample.json) == sample)
    #expect(sample.json["multimodal_inputs"]?["images"]?.array?.count == 1)
    let error = #expect(throws: SampleError.self) { try Sample(json: ["prompt": "a", "multimodal_inputs": ["videos": []]]) }
    #expect(error?.description.contains("'videos'") == true)
    var other = Sample(prompt: .text("c"))
    (sample.reward, other.reward) = (.number(1), .number(0))
    (sample.tokens, sample.responseLength, other.tokens, other.responseLength) = ([1, 35, 2], 1, [1, 2], 1)
    (sample.lossMask, other.lossMask) = (nil, nil)
    let batch = try TrainBatch(rolloutID: 0, samples: [sample, other], rewards: [1, 0])
    #expect(batch.images == [[try Data(contentsOf: path)], []])
    #expect(try JSONDecoder().decode(TrainBatch.self, from: JSONEncoder().encode(batch)) == batch)
    #expect(batch.selecting([1, 0]).images == [[], batch.images![0]])
    sample.images = ["/nowhere.png"]
    #expect(throws: SampleError.self) { try TrainBatch(rolloutID: 0, samples: [sample], rewards: [1]) }
  }
}
