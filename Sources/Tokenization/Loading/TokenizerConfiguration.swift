import JSON

/// What tokenizer_config.json, special_tokens_map.json and the chat template files say.
public struct TokenizerConfiguration: Sendable {
  public let bosToken: String?
  public let eosToken: String?
  public let padToken: String?
  public let unkToken: String?
  /// Named templates (Jinja); the usual one is "default".
  public let chatTemplates: [String: String]

  /// Whether a text begins or ends with these tokens, where the file says so itself.
  let addBosToken: Bool?
  let addEosToken: Bool?
  /// Tokens from `added_tokens_decoder`, by id.
  let addedTokens: [AddedToken]
  /// Tokens that have a role, or are listed as additional special tokens.
  let specialTokens: [AddedToken]

  private static let roles = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]

  init(_ files: TokenizerFiles) throws(TokenizerError) {
    let none = Component(file: "tokenizer_config.json", path: "", value: .object([:]))
    let config = try files.optional("tokenizer_config.json") ?? none
    let map = try files.optional("special_tokens_map.json") ?? none

    // tokenizer_config.json has the last word.
    var special: [String: AddedToken] = [:]
    for role in Self.roles {
      for file in [config, map] where special[role] == nil { special[role] = try file.optional(role).map(Self.specialToken) }
    }
    (bosToken, eosToken) = (special["bos_token"]?.content, special["eos_token"]?.content)
    (padToken, unkToken) = (special["pad_token"]?.content, special["unk_token"]?.content)
    var list = Self.roles.compactMap { special[$0] }
    for key in ["additional_special_tokens", "extra_special_tokens"] {
      guard let file = [config, map].first(where: { $0.value[key]?.array != nil }) else { continue }
      for token in try file.array(key) { list.append(try Self.specialToken(token)) }
    }
    specialTokens = list

    var added: [(id: Int, token: AddedToken)] = []
    for (key, value) in config.value["added_tokens_decoder"]?.object?.pairs ?? [] {
      let component = Component(file: config.file, path: "added_tokens_decoder.\(key)", value: value)
      guard let id = Int(key) else { throw component.error("must have an id for a key") }
      added.append((id, try AddedToken(component)))
    }
    addedTokens = added.sorted { $0.id < $1.id }.map(\.token)
    addBosToken = config.value["add_bos_token"]?.bool
    addEosToken = config.value["add_eos_token"]?.bool
    chatTemplates = try Self.templates(config, files)
  }

  /// A special token is given as its text, or as an object with its flags.
  private static func specialToken(_ component: Component) throws(TokenizerError) -> AddedToken {
    if component.value.object != nil {
      var token = try AddedToken(component)
      token.special = true
      return token
    }
    return AddedToken(content: try component.string(), special: true)
  }

  /// Template files go before those in tokenizer_config.json.
  private static func templates(_ config: Component, _ files: TokenizerFiles) throws(TokenizerError) -> [String: String] {
    var templates: [String: String] = [:]
    if let text = try files.text("chat_template.jinja") { templates["default"] = text }
    for name in files.additionalTemplates() { templates[name] = try files.text("additional_chat_templates/\(name).jinja") }
    if !templates.isEmpty { return templates }
    guard let template = config.optional("chat_template") else { return [:] }
    if let text = template.value.string { return ["default": text] }
    for named in try config.array("chat_template") { templates[try named.string("name")] = try named.string("template") }
    return templates
  }
}
