import Foundation
import JSON
import TestSupport
import Testing
import Tokenization

@Suite struct TokenizerTests {
  @Test func vocabulary() throws {
    let tokenizer = try TokenizerFixture.tokenizer("llama3")
    let id = try #require(tokenizer.id("<|eot_id|>"))
    #expect(tokenizer.token(id) == "<|eot_id|>" && tokenizer.isSpecial(id))
    #expect(tokenizer.vocabularySize == id + 2)
    #expect(tokenizer.token(tokenizer.vocabularySize) == nil && tokenizer.token(-1) == nil)
    #expect(tokenizer.id("no such token") == nil)
    #expect(tokenizer.decode([-1, 1 << 40]) == "")
  }

  /// Canonically equivalent texts are different texts.
  @Test func equivalentTokensStayApart() throws {
    let change: JSONValue = [
      "added_tokens": [
        ["content": "<é>", "normalized": false, "special": false],
        ["content": "<e\u{301}>", "normalized": false, "special": false],
      ]
    ]
    let tokenizer = try TokenizerFixture.tokenizer(changing: change)
    let first = tokenizer.vocabularySize - 2
    #expect(tokenizer.encode("<é><e\u{301}>") == [first, first + 1])
    #expect(tokenizer.id("<e\u{301}>") == first + 1)

    let vocab = #"{"e": 0, "\u0301": 1, "\u00e9": 2, "e\u0301": 3}"#
    let model = try JSONValue(parsing: #"{"type": "BPE", "vocab": \#(vocab), "merges": ["e \u0301"]}"#)
    let plain = try TokenizerFixture.tokenizer(changing: ["model": model, "pre_tokenizer": nil, "decoder": nil])
    #expect(plain.encode("\u{E9}e\u{301}\u{301}") == [2, 3, 1])
    #expect(Array(plain.decode([2, 3]).utf8) == Array("\u{E9} e\u{301}".utf8))
  }

  /// What `transformers` makes of the other files, with byte/tokenizer.json.
  @Test func configurationsActLikePython() throws {
    let rows = try TokenizerFixture.json("configurations.json").array!
    #expect(rows.count >= 8)
    for row in rows {
      let files = Dictionary(uniqueKeysWithValues: row["files"]!.object!.pairs.map { ($0.key, $0.value.text()) })
      let tokenizer = try TokenizerFixture.tokenizer(files: files)
      #expect(tokenizer.bosToken == row["bos"]?.string && tokenizer.eosToken == row["eos"]?.string, "\(files)")
      #expect(tokenizer.padToken == row["pad"]?.string && tokenizer.vocabularySize == row["size"]?.int, "\(files)")
      #expect(tokenizer.encode(row["text"]!.string!) == row["ids"]!.array!.compactMap(\.int), "\(files)")
      let special = (0..<tokenizer.vocabularySize).filter(tokenizer.isSpecial)
      #expect(special == row["special"]!.array!.compactMap(\.int), "\(files)")
    }
  }

  @Test func namedTemplates() throws {
    let config = #"{"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]}"#
    let tokenizer = try TokenizerFixture.tokenizer(files: ["tokenizer_config.json": config])
    #expect(tokenizer.chatTemplate == "D" && tokenizer.configuration.chatTemplates["tool_use"] == "T")
  }

  @Test func templateFilesGoFirst() throws {
    let files = [
      "tokenizer_config.json": #"{"chat_template": "old"}"#, "chat_template.jinja": "new",
      "additional_chat_templates/rag.jinja": "rag",
    ]
    let tokenizer = try TokenizerFixture.tokenizer(files: files)
    #expect(tokenizer.configuration.chatTemplates == ["default": "new", "rag": "rag"])
  }

  /// Each wrong file is an error that names the component.
  @Test(arguments: [
    (#"{"normalizer": {"type": "Precompiled"}}"#, "normalizer"),
    (#"{"normalizer": {"type": "Sequence", "normalizers": [{"type": "Nmt"}]}}"#, "normalizer.normalizers[0]"),
    (#"{"pre_tokenizer": {"type": "UnicodeScripts"}}"#, "pre_tokenizer"),
    (#"{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": false}}"#, "(a"),
    (#"{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?:a?)*"}, "behavior": "Isolated"}}"#, "nothing"),
    (#"{"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\p{Klingon}"}, "behavior": "Isolated"}}"#, "Klingon"),
    (#"{"pre_tokenizer": {"type": "Split", "pattern": {"String": "a"}, "behavior": "Sideways"}}"#, "Sideways"),
    (#"{"decoder": {"type": "CTC"}}"#, "decoder"), (#"{"post_processor": {"type": "X"}}"#, "post_processor"),
    (#"{"model": {"type": "Unigram"}}"#, "Unigram"), (#"{"model": {"type": "BPE", "merges": []}}"#, "vocab"),
    (#"{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}"#, "-1"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}"#, "'b'"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["ab"]}}"#, "merges"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "?"}}"#, "'?'"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1}}"#, "dropout"),
    (#"{"added_tokens": [{"id": 1}]}"#, "added_tokens[0]"),
  ])
  func errorsNameTheComponent(_ change: String, _ name: String) throws {
    let change = try JSONValue(parsing: change)
    let error = #expect(throws: TokenizerError.self) { try TokenizerFixture.tokenizer(changing: change) }
    #expect(error?.description.contains("tokenizer.json") ?? false)
    #expect(error?.message.contains(name) ?? false, "\(error?.message ?? "")")
  }

  @Test(arguments: ["(", "["])
  func nestedPatternsAreAnError(_ bracket: String) throws {
    let pattern: JSONValue = ["Regex": .string(String(repeating: bracket, count: 100_000))]
    let step: JSONValue = ["type": "Split", "pattern": pattern, "behavior": "Isolated"]
    #expect(throws: TokenizerError.self) { try TokenizerFixture.tokenizer(changing: ["pre_tokenizer": step]) }
  }

  @Test func missingAndBrokenFiles() throws {
    try withTemporaryFolder { folder in
      #expect(throws: TokenizerError.self) { try Tokenizer(folder: folder) }
      try Data("{".utf8).write(to: folder.appendingPathComponent("tokenizer.json"))
      #expect(throws: TokenizerError.self) { try Tokenizer(folder: folder) }
    }
  }

  /// A word of n characters takes n · log n.
  @Test(arguments: ["byte", "llama2", "no-fallback"])
  func longWordsAreNotQuadratic(_ name: String) throws {
    let tokenizer = try TokenizerFixture.tokenizer(name)
    let word = String(repeating: "thequickbrownfox", count: 20_000)
    let elapsed = ContinuousClock().measure { #expect(tokenizer.decode(tokenizer.encode(word), skipSpecialTokens: true) == word) }
    #expect(elapsed < .seconds(5))
  }

  @Test func threadsShareATokenizer() async throws {
    let tokenizer = try TokenizerFixture.tokenizer("qwen3")
    let expected = TokenizerFixture.corpus.map { tokenizer.encode($0) }
    await withTaskGroup(of: Bool.self) { group in
      for _ in 0..<4 { group.addTask { TokenizerFixture.corpus.map { tokenizer.encode($0) } == expected } }
      for await isEqual in group { #expect(isEqual) }
    }
  }
}
