import Checkpoints
import Foundation
import Models
import Tokenization

extension Inspection {
  /// A folder's tokenizer and chat template.
  public struct InspectedTokenizer: Sendable, Encodable {
    public var kind: String
    /// One more than the highest id.
    public var vocabularySize: Int
    /// Whether the model has an embedding for every id.
    public var fitsModel: Bool
    /// Those with a role, and their ids.
    public var specialTokens: [SpecialToken]
    /// Ids that end a response.
    public var endOfSequenceIDs: [Int]
    /// The file that it is in; nil: there is none.
    public var chatTemplate: String?
    /// Further ones, by name.
    public var otherTemplates: [String]

    public struct SpecialToken: Sendable, Encodable {
      public var role: String
      public var token: String
      public var id: Int?
    }

    /// - Returns: nil: the folder has no tokenizer.json.
    /// - Throws: `TokenizerError` or `ChatTemplateError` about what cannot be read.
    init?(_ folder: HuggingFaceFolder, _ model: ModelConfiguration) throws {
      guard folder.tokenizerFiles.contains(where: { $0.lastPathComponent == "tokenizer.json" }) else { return nil }
      let tokenizer = try Tokenizer(folder: folder.url)
      let configuration = tokenizer.configuration
      for source in configuration.chatTemplates.values { _ = try ChatTemplate(source: source) }
      kind = tokenizer.kind.rawValue
      vocabularySize = tokenizer.vocabularySize
      fitsModel = tokenizer.vocabularySize <= model.vocabularySize
      specialTokens = [
        ("bos", configuration.bosToken), ("eos", configuration.eosToken), ("pad", configuration.padToken),
        ("unk", configuration.unkToken),
      ].compactMap { role, token in token.map { SpecialToken(role: role, token: $0, id: tokenizer.id($0)) } }
      let ids = folder.endOfSequenceTokenIDs
      endOfSequenceIDs = ids.isEmpty ? [tokenizer.eosTokenID].compactMap { $0 } : ids
      chatTemplate = tokenizer.chatTemplate == nil ? nil : configuration.chatTemplateFile
      otherTemplates = configuration.chatTemplates.keys.filter { $0 != "default" }.sorted()
    }
  }
}
