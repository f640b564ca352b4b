import Checkpoints
import Foundation
import Grammars
import Inference
import JSON
import TestSupport
import Testing
import Tokenization
import Torch

/// Responses of a random model under grammars.
@Suite struct GrammarTests {
  private static let schema = #"""
    {"type":"object","properties":{"name":{"type":"string","maxLength":8},"age":{"type":"integer","minimum":0,"maximum":120},
    "tags":{"type":"array","items":{"enum":["a","b",null]},"maxItems":3}},"required":["name","age"]}
    """#

  static func withEngine<R>(
    _ options: EngineOptions = EngineOptions(), seed: UInt64 = 1,
    _ body: (Engine, Tokenizer, HuggingFaceFolder) async throws -> R
  ) async throws -> R {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try writeTinyModel(to: folder, seed: seed, contextLength: 1024)
    let tokenizer = try Tokenizer(folder: folder)
    let model = try HuggingFaceFolder(folder)
    return try await body(Engine(folder: model, tokenizer: tokenizer, options: options), tokenizer, model)
  }

  /// Requests with a grammar of every kind and without one, greedy and sampled, with prompts of all lengths.
  private static func requests(_ count: Int) -> [GenerateRequest] {
    (0..<count).map { i in
      var sampling = SamplingParameters()
      (sampling.maxNewTokens, sampling.temperature, sampling.samplingSeed) = (400, [0, 1, 0.7][i % 3], i)
      if i % 4 == 1 { sampling.topP = 0.9 }
      switch i % 5 {
      case 0: sampling.regex = "(yes|no|maybe)( [0-9]{1,3}){2,4}"
      case 1: sampling.jsonSchema = schema
      case 2: sampling.ebnf = "root ::= item (\", \" item){2,5}\nitem ::= [a-f]{1,3} | \"(\" [0-9] \")\""
      case 3: (sampling.regex, sampling.ignoreEOS) = ("[a-zé]{3,9}!", true)
      default: (sampling.maxNewTokens, sampling.ignoreEOS) = (20, true)
      }
      return GenerateRequest(
        id: "g\(i)", tokens: (0...(i * 7 % 50)).map { ($0 * 31 + i) % 400 }, sampling: sampling, returnLogProbs: true)
    }
  }

  private static func check(_ request: GenerateRequest, _ output: GenerateOutput) throws {
    let text = Array(output.text.utf8)
    switch request.sampling.grammar {
    case nil: #expect(output.finishReason == .length(20))
    case let source?:
      var automaton = try Automaton(Grammar(source))
      let matches = automaton.matches(text)
      #expect(matches, "\(request.id): \(output.text)")
      let end = request.sampling.ignoreEOS ? output.outputTokens.last! : 400
      #expect(output.finishReason == .stopToken(end) && output.outputTokens.last == end, "\(request.id)")
    }
    if request.sampling.jsonSchema != nil {
      let value = try JSONValue(parsing: output.text)
      #expect((0...120).contains(value["age"]?.int ?? -1) && (value["name"]?.string?.unicodeScalars.count ?? 9) <= 8)
    }
    #expect(output.outputLogProbs.allSatisfy { ($0.logProb ?? -.infinity).isFinite })
  }

  @Test func responsesMatchHoweverTheyRun() async throws {
    let requests = Self.requests(30)
    var wanted: [GenerateOutput] = []
    try await Self.withEngine { engine, _, _ in
      for request in requests { wanted.append(try await engine.generate(request)) }
    }
    for (request, output) in zip(requests, wanted) { try Self.check(request, output) }
    for (running, chunk, page, tokens) in [(32, 2048, 16, nil), (8, 7, 4, nil), (30, 64, 2, 700)] as [(Int, Int, Int, Int?)] {
      try await Self.withEngine(
        EngineOptions(
          pageSize: page, maxTotalTokens: tokens, maxRunningRequests: running, chunkedPrefillSize: chunk)
      ) { engine, _, _ in
        async let all = generateAll(engine, requests)
        for _ in 0..<(tokens == nil ? 0 : 20) {
          var status = try await engine.status()
          while status.runningRequests == 0, status.generatedTokens == 0 { status = try await engine.status() }
          try await Task.sleep(for: .milliseconds(3))
          try await engine.pause(.retract)
          try await engine.resume()
        }
        let outputs = try await all
        for (output, wanted) in zip(outputs, wanted) { EngineInvarianceTests.expectSame(output, wanted, "\(running) \(chunk)") }
        if tokens != nil { #expect(outputs.contains { $0.retractions > 1 }) }
        try await expectIdle(engine)
      }
    }
  }

  /// Log-probabilities are those of the model, renormalised over what the grammar allows.
  @Test func theDistributionIsTheModelsRestricted() async throws {
    try await Self.withEngine { engine, tokenizer, folder in
      let reference = try ReferenceModel(folder)
      var request = GenerateRequest(id: "a", tokens: [5, 6, 7], returnLogProbs: true, topLogProbs: 3)
      (request.sampling.regex, request.sampling.maxNewTokens, request.sampling.temperature) = ("[a-m]+[0-9]?", 6, 0.8)
      request.sampling.samplingSeed = 3
      let output = try await engine.generate(request)
      var automaton = try Automaton(Grammar(.regex("[a-m]+[0-9]?")))
      var written: [UInt8] = []
      for (i, found) in output.outputLogProbs.enumerated() {
        let logits: [Float] = (reference.logits(request.tokens + output.outputTokens[..<i])[2 + i] / 0.8).array()
        var allowed: [Int] = []
        for id in logits.indices {
          guard let bytes = tokenizer.bytes(of: id, isFirst: i == 0), !bytes.isEmpty else { continue }
          if automaton.advance(automaton.start, written + bytes) != nil { allowed.append(id) }
        }
        if automaton.matches(written) { allowed.append(400) }
        let normalizer = log(allowed.map { exp(Double(logits[$0])) }.reduce(0, +))
        #expect(abs(Double(found.logProb!) - (Double(logits[found.token]) - normalizer)) < 1e-4)
        let best = allowed.sorted { logits[$0] > logits[$1] }.prefix(3)
        #expect(output.outputTopLogProbs[i].map(\.token) == Array(best))
        written += tokenizer.bytes(of: found.token, isFirst: i == 0) ?? []
      }
      #expect(output.outputTokens.count > 2)
    }
  }

  @Test func theMaskIsAppliedRowByRow() throws {
    var random = SeededGenerator(state: 2)
    let vocabulary = 77
    var rows: [Sampler.Row] = []
    var allowed: [Set<Int>] = []
    for i in 0..<20 {
      var parameters = SamplingParameters()
      if i % 3 == 0 { parameters.temperature = 0 }
      if i % 4 == 0 { parameters.topP = 0.5 }
      var row = Sampler.Row(
        SamplingState(parameters, seed: i, prompt: []), position: i,
        logProbs: LogProbRequest(tokenIDs: Array(0..<vocabulary)))
      allowed.append(Set(0..<vocabulary))
      if i % 5 > 0 {
        let ids = Set((0..<vocabulary).filter { _ in Int.random(in: 0..<10, using: &random) == 0 })
        var mask = TokenMask(vocabularySize: vocabulary)
        for id in ids { mask.insert(id) }
        let ends: Set<Int> = i % 2 == 0 || ids.isEmpty ? [76, 3] : []
        row.allowed = AllowedTokens(mask: mask, ends: ends)
        allowed[i] = ids.union(ends)
      }
      rows.append(row)
    }
    let logits = Tensor.randn([20, vocabulary], generator: Generator(seed: 5)) * 3
    let samples = try withoutGradients { try Sampler().sample(logits, rows).samples() }
    let values: [Float] = logits.array()
    for (i, sample) in samples.enumerated() {
      #expect(allowed[i].contains(sample.token) && sample.isValid)
      let own = Array(values[i * vocabulary..<(i + 1) * vocabulary]).map(Double.init)
      if i % 3 == 0 { #expect(sample.token == allowed[i].max { own[$0] < own[$1] }) }
      let normalizer = log(allowed[i].map { exp(own[$0]) }.reduce(0, +))
      for entry in try #require(sample.logProbs).tokenIDs {
        if allowed[i].contains(entry.token) {
          #expect(abs(Double(entry.logProb!) - (own[entry.token] - normalizer)) < 1e-4)
        } else {
          #expect(entry.logProb == -.infinity)
        }
      }
    }
  }

  @Test func endsAndLimits() async throws {
    try await Self.withEngine { engine, tokenizer, _ in
      func output(_ change: (inout SamplingParameters) -> Void) async throws -> GenerateOutput {
        var request = GenerateRequest(id: UUID().uuidString, tokens: [9, 8, 7])
        request.sampling.maxNewTokens = 50
        change(&request.sampling)
        return try await engine.generate(request)
      }
      // A text that can only end does, whatever else says it may not yet.
      let early = try await output { ($0.regex, $0.minNewTokens) = ("ab", 20) }
      #expect(early.text == "ab" && early.finishReason == .stopToken(400))
      // One that may go on does not end before `min_new_tokens`.
      let long = try await output { ($0.regex, $0.minNewTokens) = ("a*", 20) }
      #expect(long.outputTokens.count > 20 && long.text.allSatisfy { $0 == "a" })
      let empty = try await output { $0.regex = "" }
      #expect(empty.text == "" && empty.outputTokens == [400])
      let ignored = try await output { ($0.regex, $0.ignoreEOS) = ("", true) }
      #expect(ignored.outputTokens == [400] && ignored.finishReason == .stopToken(400))
      let cut = try await output { ($0.regex, $0.maxNewTokens) = ("[a-c]{40}", 3) }
      #expect(cut.finishReason == .length(3))
      let stopToken = tokenizer.id("z")!
      let stopped = try await output { ($0.regex, $0.stopTokenIDs, $0.temperature) = ("(ab){3}", [stopToken], 0) }
      #expect([.stopToken(400), .stopToken(stopToken)].contains(stopped.finishReason) && stopped.text == "ababab")
      let string = try await output { ($0.regex, $0.stop) = ("x{5}", ["xxx"]) }
      #expect(string.text == "" && string.finishReason == .stopString("xxx"))
    }
  }

  @Test func refusesWhatIsNoGrammar() async throws {
    try await Self.withEngine { engine, _, folder in
      let silent = try Engine(folder: folder, tokenizer: nil)
      let refused: [(engine: Engine, json: String?, regex: String?, ebnf: String?, words: String)] = [
        (engine, nil, "(", nil, "regex cannot be used: the regex \"(\" has a '(' without ')'"),
        (engine, "{", nil, nil, "json_schema cannot be used: the JSON schema is invalid JSON"),
        (engine, nil, nil, "x ::= \"a\"", "ebnf cannot be used: the EBNF grammar has no rule root"),
        (engine, nil, "a", "root ::= \"a\"", "Only one of"), (engine, nil, "[^\\s\\S]", nil, "matches no text"),
        (silent, nil, "a", nil, "regex needs a tokenizer"),
      ]
      for (engine, json, regex, ebnf, words) in refused {
        var request = GenerateRequest(id: "a", tokens: [9])
        (request.sampling.jsonSchema, request.sampling.regex, request.sampling.ebnf) = (json, regex, ebnf)
        let sent = request
        let error = await #expect(throws: InvalidRequest.self) { try await engine.generate(sent) }
        let message = error?.description ?? ""
        #expect(message.contains(words), "\(words)")
      }
      try await expectIdle(engine)
    }
  }

  /// Random walks over the tokens of vocabularies of all kinds: what they decode to is of the grammar.
  @Test(arguments: ["byte", "glm4", "gpt2", "llama2", "mistral", "no-fallback", "qwen3"])
  func walksDecodeToTextsOfTheGrammar(_ name: String) throws {
    let tokenizer = try Tokenizer(folder: fixture("Tokenization/tokenizers/\(name)"))
    let ids = 0..<tokenizer.vocabularySize
    let texts = TokenTexts(
      middle: ids.map { tokenizer.bytes(of: $0) }, first: ids.map { tokenizer.bytes(of: $0, isFirst: true) })
    var random = SeededGenerator(state: 23)
    for source in [
      GrammarSource.regex("( ?[a-z]{1,9}){2,8}"), .jsonSchema(Self.schema), .regex("[ a-zé中😀]{5,30}"),
      .ebnf("root ::= \" \"? word (\" \" word)* \".\"\nword ::= [a-z]+ | \"(\" root \")\""),
    ] {
      let grammar = try TokenGrammar(Grammar(source), texts)
      var automaton = try Automaton(Grammar(source))
      for _ in 0..<20 {
        var (state, walked) = (grammar.start, [Int]())
        while true {
          let mask = grammar.mask(state, isFirst: walked.isEmpty)
          let allowed = ids.filter { mask.contains($0) }
          if grammar.isAccepting(state), allowed.isEmpty || Int.random(in: 0..<3, using: &random) == 0 { break }
          // Without a token for every byte, a character that has none can never be written.
          guard let token = allowed.randomElement(using: &random), walked.count < 3000 else { break }
          #expect(!tokenizer.isSpecial(token))
          state = try #require(grammar.advance(state, token, isFirst: walked.isEmpty))
          walked.append(token)
        }
        guard grammar.isAccepting(state) else { continue }
        let text = tokenizer.decode(walked)
        let matches = automaton.matches(text.utf8)
        #expect(matches, "\(name): \(text)")
        if case .jsonSchema = source { #expect((0...120).contains(try JSONValue(parsing: text)["age"]?.int ?? -1)) }
      }
    }
  }

  /// Aborted, or left by their consumers, while their grammars are made.
  @Test func requestsLeaveWhileTheirGrammarsAreMade() async throws {
    try await Self.withEngine { engine, _, _ in
      let outputs = try await withThrowingTaskGroup(of: GenerateOutput?.self) { group in
        for i in 0..<40 {
          group.addTask {
            var request = GenerateRequest(id: "r\(i)", tokens: [i + 1])
            (request.sampling.regex, request.sampling.maxNewTokens) = ("(ab?c){5,9}x{\(i + 1)}", 600)
            if i % 3 == 0 {
              for try await _ in engine.stream(request) { break }
              return nil
            }
            return try await engine.generate(request)
          }
        }
        for i in 0..<20 { await engine.abort("r\(i)") }
        return try await group.reduce(into: [GenerateOutput]()) { if let output = $1 { $0.append(output) } }
      }
      for output in outputs {
        #expect(output.finishReason == .abort("Aborted") || output.text.hasSuffix("x"), "\(output.id) \(output.text)")
      }
      try await expectIdle(engine)
    }
  }
}
