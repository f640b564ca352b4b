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
    #expect(tokenizer.token(tokenizer.vocabularySize) == nil && tokenizer.token(-1) == nil && tokenizer.id("no such token") == nil)
    #expect(tokenizer.decode([-1, 1 << 40]) == "")
  }

  /// Canonically equivalent texts are different texts.
  @Test func equivalentTokensStayApart() throws {
    let change: JSONValue = [
      "added_tokens": [
        ["content": "<é>", "normalized": false, "special": false], ["content": "<e\u{301}>", "normalized": false, "special": false],
      ]
    ]
    let tokenizer = try TokenizerFixture.tokenizer(changing: change)
    let first = tokenizer.vocabularySize - 2
    #expect(tokenizer.encode("<é><e\u{301}>") == [first, first + 1])
    #expect(tokenizer.id("<e\u{301}>") == first + 1)
  }

  @Test func rolesComeFromTheConfiguration() throws {
    let config = """
      {"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": true}, "pad_token": null, "add_bos_token": true,
       "added_tokens_decoder": {"401": {"content": "<think>", "special": false}}, "additional_special_tokens": ["<more>"],
       "chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]}
      """
    let map = #"{"pad_token": "<pad>", "eos_token": "ignored"}"#
    let tokenizer = try TokenizerFixture.tokenizer(files: ["tokenizer_config.json": config, "special_tokens_map.json": map])
    #expect(tokenizer.bosToken == "<s>" && tokenizer.eosToken == "</s>" && tokenizer.padToken == "<pad>")
    let ids = ["<think>", "<s>", "</s>", "<pad>", "<more>"].map { tokenizer.id($0) }
    #expect(ids == [401, 402, 403, 404, 405])
    #expect([401, 402, 403, 404, 405].map(tokenizer.isSpecial) == [false, true, true, true, true])
    #expect(tokenizer.encode("  </s><think>") == [402, 403, 401])
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
