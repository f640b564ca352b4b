import Foundation
import JSON
import TestSupport
import Tokenization

/// The fixtures of Scripts/make_tokenizer_fixtures.py.
enum TokenizerFixture {
  static let names = [
    "byte", "deepseek-v2", "deepseek-v3", "glm4", "gpt-oss", "gpt2", "llama2", "llama3", "mistral", "no-fallback", "qwen3",
  ]

  static let corpus: [String] = (try? json("corpus.json"))?.array?.compactMap(\.string) ?? []

  /// Every scalar below U+3000 and a part of the others, each before a letter or a space now and then.
  static let scalars: String = {
    let ranges: [Range<UInt32>] = [
      0..<0x3400, 0xA000..<0xAC00, 0xF900..<0x1_2000, 0x1_6800..<0x1_7000, 0x1_AFF0..<0x2_0000, 0x2_F800..<0x2_FA20,
    ]
    var text = String.UnicodeScalarView()
    for code in UInt32(0)..<0x11_0000 where code % 61 == 0 || ranges.contains(where: { $0.contains(code) }) {
      guard let scalar = Unicode.Scalar(code) else { continue }
      text.append(scalar)
      if code % 3 == 0 { text.append("a") } else if code % 7 == 0 { text.append(" ") }
    }
    return String(text)
  }()

  static func folder(_ name: String) -> URL { fixture("Tokenization/tokenizers/\(name)") }
  static func tokenizer(_ name: String) throws -> Tokenizer { try Tokenizer(folder: folder(name)) }

  static func json(_ name: String) throws -> JSONValue {
    try JSONValue(parsing: Data(contentsOf: fixture("Tokenization/\(name)")))
  }

  /// The byte tokenizer with other components, and other files beside it.
  static func tokenizer(changing change: JSONValue = [:], files: [String: String] = [:]) throws -> Tokenizer {
    var content = try json("tokenizers/byte/tokenizer.json").object!
    for (key, value) in change.object!.pairs { content[key] = value }
    return try withTemporaryFolder { folder in
      try JSONValue.object(content).data().write(to: folder.appendingPathComponent("tokenizer.json"))
      for (name, text) in files {
        let url = folder.appendingPathComponent(name)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
      }
      return try Tokenizer(folder: folder)
    }
  }

  /// FNV-1a of 64 bits over 32-bit numbers, in hexadecimal.
  static func digest(_ values: some Sequence<Int>) -> String {
    let hash = values.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    let text = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - text.count) + text
  }
}
