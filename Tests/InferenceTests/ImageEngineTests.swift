import Checkpoints
import Foundation
import Inference
import JSON
import Models
import TestSupport
import Testing
import Torch

/// Prompts with pictures in an engine: the tokens that `transformers` generates greedily, whatever the sizes of pages and
/// chunks, which begin and end inside of pictures, and whoever is in the batch.
@Suite struct ImageEngineTests {
  private struct Fixture {
    let folder: HuggingFaceFolder
    let requests: [GenerateRequest]
    let wanted: [[Int]]
    let imageToken: Int

    init(_ name: String) throws {
      let url = fixture("vision/\(name)")
      folder = try HuggingFaceFolder(url)
      let file = try SafetensorsFile(url.appendingPathComponent("reference.safetensors"))
      let names = try JSONValue(parsing: Data(contentsOf: url.appendingPathComponent("prompt_images.json")))
      let generated = try file.tensor("generated")
      wanted = (0..<generated.size(0)).map { generated[$0].array() }
      imageToken = try #require(try ModelRegistry.configuration(of: folder).vision).imageToken
      requests = try VisionReference(file, prefix: "prompt_").sequences.enumerated().map { index, sequence in
        var sampling = SamplingParameters()
        (sampling.temperature, sampling.ignoreEOS, sampling.maxNewTokens) = (0, true, generated.size(1))
        var request = GenerateRequest(id: "\(index)", tokens: sequence.tokens, sampling: sampling)
        request.images = try #require(names.array?[index].array).map {
          try Data(contentsOf: fixture("images/\(try #require($0.string))"))
        }
        return request
      }
    }

    /// A request with one token for each picture.
    func short(_ request: GenerateRequest) -> GenerateRequest {
      var short = request
      short.tokens = request.tokens.indices.filter {
        $0 == 0 || request.tokens[$0] != imageToken || request.tokens[$0 - 1] != imageToken
      }.map { request.tokens[$0] }
      return short
    }
  }

  @Test(arguments: visionFixtures, [(1, 5), (4, 64)])
  func greedyIsThatOfTransformers(_ name: String, _ sizes: (page: Int, chunk: Int)) async throws {
    let given = try Fixture(name)
    let engine = try Engine(
      folder: given.folder, tokenizer: nil,
      options: EngineOptions(pageSize: sizes.page, chunkedPrefillSize: sizes.chunk))
    var text = given.requests[0]
    (text.id, text.tokens, text.images) = ("text", [3, 1, 4], [])
    let outputs = try await generateAll(engine, given.requests.map(given.short) + [text])
    for (output, wanted) in zip(outputs, given.wanted) { #expect(output.outputTokens == wanted) }
    #expect(zip(outputs, given.requests).allSatisfy { $0.promptTokens == $1.tokens.count })
    // Again, with all tokens given and most of the prompt in the cache.
    for (output, wanted) in zip(try await generateAll(engine, given.requests), given.wanted) {
      #expect(output.outputTokens == wanted && output.cachedTokens >= output.promptTokens - sizes.page - 1)
    }
    try await expectIdle(engine)
  }

  @Test(arguments: ["qwen3-vl", "qwen3.5-moe"]) func ranksSeeTheSame(_ name: String) async throws {
    let given = try Fixture(name)
    var options = EngineOptions(pageSize: 4, chunkedPrefillSize: 7)
    (options.tensorParallelSize, options.collectiveTimeout) = (2, .seconds(30))
    let engine = try Engine(folder: given.folder, tokenizer: nil, options: options)
    for (output, wanted) in zip(try await generateAll(engine, given.requests), given.wanted) {
      #expect(output.outputTokens == wanted)
    }
  }

  /// Tokens that stand for other pictures share nothing, and mean something else; the text before them is shared, unless
  /// the model keeps states, which are those after the whole prompt.
  @Test(arguments: ["qwen3-vl", "qwen3.5"]) func otherPicturesAreOtherPrompts(_ name: String) async throws {
    let given = try Fixture(name)
    let engine = try Engine(folder: given.folder, tokenizer: nil, options: EngineOptions(pageSize: 1))
    var request = given.requests[0]
    let first = try await engine.generate(request)
    // Of the same size.
    request.images = [try Data(contentsOf: fixture("images/10-lossless.webp"))]
    let other = try await engine.generate(request)
    let text = try #require(request.tokens.firstIndex(of: given.imageToken))
    let shared = name == "qwen3.5" ? 0 : text
    #expect(other.cachedTokens == shared && other.outputTokens != first.outputTokens)
    request.images = given.requests[0].images
    let again = try await engine.generate(request)
    #expect(again.cachedTokens == again.promptTokens - 1 && again.outputTokens == first.outputTokens)
  }

  @Test func whatCannotBeSeenIsRefused() async throws {
    let given = try Fixture("qwen2.5-vl")
    let engine = try Engine(folder: given.folder, tokenizer: nil)
    let text = try Engine(folder: modelFolder("qwen2"), tokenizer: nil)
    #expect(try await engine.status().takesImages)
    #expect(try await !text.status().takesImages)
    let request = given.requests[0]
    func expectRefused(_ engine: Engine, _ images: [Data], _ complaint: String) async throws {
      var bad = request
      bad.images = images
      let error = await #expect(throws: InvalidRequest.self) { try await engine.generate(bad) }
      #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
    }
    try await expectRefused(engine, request.images + request.images, "1 pictures, but 2 are given")
    try await expectRefused(engine, [Data("no picture".utf8)], "neither PNG, JPEG nor WebP")
    try await expectRefused(engine, [request.images[0].prefix(300)], "cannot be decoded")
    try await expectRefused(text, request.images, "takes no pictures")
    #expect(try await engine.generate(request).outputTokens == given.wanted[0])
  }
}
