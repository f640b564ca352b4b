import Foundation
import JSON

/// Text to tokens and back, from the files of a Hugging Face checkpoint (tokenizer.json and tokenizer_config.json).
///
/// Gives the ids and the text that Python's `tokenizers` and `transformers` 5 give, on every text. A value can be used from
/// many threads at once.
public final class Tokenizer: Sendable {
  /// The special tokens that have a name, and chat templates.
  public let configuration: TokenizerConfiguration

  private let model: BPEModel
  private let added: AddedVocabulary
  private let normalizer: Normalizer?
  private let preTokenizer: PreTokenizer?
  private let postProcessor: PostProcessor?
  let decoderSteps: [DecoderStep]
  private let states = EncoderStates()

  /// - Throws: `TokenizerError`, which names the file and the component that is missing, wrong or not supported.
  public init(folder: URL) throws {
    let files = TokenizerFiles(folder: folder)
    let configuration = try TokenizerConfiguration(files)
    let file = try files.component("tokenizer.json")
    let modelComponent = try file.required("model")
    guard ["BPE", ""].contains(modelComponent.type) else { throw modelComponent.unsupported("model") }

    normalizer = try file.optional("normalizer").map(Normalizer.init)
    preTokenizer = try file.optional("pre_tokenizer").map(PreTokenizer.init)
    let endsInByteLevel = preTokenizer?.endsInByteLevel ?? false
    model = try BPEModel(modelComponent, endsInByteLevel: endsInByteLevel)
    decoderSteps = try DecoderStep.steps(file.optional("decoder"))

    var added = AddedVocabulary()
    let listed = file.optional("added_tokens") == nil ? [] : try file.array("added_tokens")
    added.add(try listed.map(AddedToken.init), model)
    let taken = Set(configuration.isLegacy ? listed.compactMap { $0.value["id"]?.int } : [])
    added.add(configuration.addedTokens.filter { !taken.contains($0.id) }.map(\.token), model)
    for token in configuration.specialTokens where added.id(token.content) == nil { added.add([token], model) }
    added.prepareSearch(normalizer)
    self.added = added
    // `add_bos_token` and `add_eos_token` in tokenizer_config.json do not count beside a tokenizer.json.
    postProcessor = try file.optional("post_processor").map(PostProcessor.init)
    self.configuration = configuration
  }

  // MARK: - Encoding

  /// The ids of a text.
  /// - Parameter addSpecialTokens: whether to put around it what the file's post-processor says (`<s>`, for example).
  public func encode(_ text: String, addSpecialTokens: Bool = true) -> [Int] {
    var text = text
    let ids = text.withUTF8 { utf8 in states.withState { state in encode(Array(utf8), &state) } }
    guard addSpecialTokens, let postProcessor else { return ids }
    return postProcessor.apply(to: ids)
  }

  private func encode(_ text: [UInt8], _ state: inout EncoderState) -> [Int] {
    var pieces = added.split(text, normalizer, state.stack)
    preTokenizer?.apply(to: &pieces, isLast: model.readsBytes, state.stack)
    var ids: [Int] = []
    ids.reserveCapacity(text.count / 3 + 4)
    pieces.bytes.withUnsafeBufferPointer { bytes in
      guard let base = bytes.baseAddress else { return }
      for piece in pieces.pieces {
        if piece.token >= 0 {
          ids.append(piece.token)
        } else {
          model.encode(base + piece.start, piece.end - piece.start, &state, to: &ids)
        }
      }
    }
    return ids
  }

  // MARK: - Decoding

  /// The text of the ids; ids that are not in the vocabulary are left out.
  ///
  /// `clean_up_tokenization_spaces` does not count for BPE, as in `transformers` 5.
  public func decode(_ ids: [Int], skipSpecialTokens: Bool = false) -> String {
    var decoder = StreamDecoder(self, skipSpecialTokens: skipSpecialTokens)
    for id in ids { decoder.push(id) }
    return decoder.finish()
  }

  // MARK: - Vocabulary

  /// How words become tokens.
  public enum Kind: String, Sendable {
    case byteLevel = "BPE on bytes"
    case byteFallback = "BPE with bytes for what is not in the vocabulary"
    case characters = "BPE"
  }

  public var kind: Kind { model.readsBytes ? .byteLevel : model.fallsBackToBytes ? .byteFallback : .characters }

  /// One more than the highest id.
  public var vocabularySize: Int { max(model.tokens.count, (added.highestID ?? -1) + 1) }

  /// The token as the vocabulary writes it; an added token that is matched in normalized text comes normalized.
  public func token(_ id: Int) -> String? {
    added.texts[id] ?? (model.tokens.indices.contains(id) ? model.tokens[id] : nil)
  }

  public func id(_ token: String) -> Int? { added.id(token) ?? model.vocabulary.id(token) }

  public func isSpecial(_ id: Int) -> Bool { added.isSpecial(id) }

  /// Whether `decode(skipSpecialTokens: true)` leaves this token out.
  func isSkipped(_ id: Int) -> Bool { added.isSkipped(id) }

  public var bosToken: String? { configuration.bosToken }
  public var eosToken: String? { configuration.eosToken }
  public var padToken: String? { configuration.padToken }
  public var bosTokenID: Int? { bosToken.flatMap(id) }
  public var eosTokenID: Int? { eosToken.flatMap(id) }
  public var padTokenID: Int? { padToken.flatMap(id) }

  /// The source of the default chat template (Jinja).
  public var chatTemplate: String? { configuration.chatTemplates["default"] }
}
