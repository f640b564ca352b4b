import JSON

/// What tokenizer_config.json, special_tokens_map.json and the chat template files say.
public struct TokenizerConfiguration: Sendable {
  public let bosToken: String?
  public let eosToken: String?
  public let padToken: String?
  public let unkToken: String?
  /// Named templates (Jinja); the usual one is "default".
  public let chatTemplates: [String: String]
  /// The file that they come from, or the folder where there is no default one; nil: there are none.
  public let chatTemplateFile: String?

  /// Tokens to be added, in place of what tokenizer.json says of the same ones.
  let addedTokens: [(id: Int, token: AddedToken)]
  /// Whether `addedTokens` come from added_tokens.json, which gives way to the ids of tokenizer.json.
  let isLegacy: Bool
  /// Tokens that have a role or are listed as special, to be added where they are missing.
  let specialTokens: [AddedToken]

  private static let roles = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]

  init(_ files: TokenizerFiles) throws(TokenizerError) {
    let config = try files.optional("tokenizer_config.json") ?? Component(file: "", path: "", value: .object([:]))
    // The files from before `added_tokens_decoder` count only where that is missing, but then they have the last word.
    isLegacy = config.value["added_tokens_decoder"] == nil
    let map = isLegacy ? try files.optional("special_tokens_map.json") : nil

    var named: [(role: String, token: AddedToken)] = []
    for role in Self.roles {
      if let value = map?.optional(role) ?? config.optional(role) { named.append((role, try Self.token(value, hasRole: true))) }
    }
    named += try Self.modelSpecific(config)
    func content(_ role: String) -> String? { named.first { $0.role == role }?.token.content }
    (bosToken, eosToken) = (content("bos_token"), content("eos_token"))
    (padToken, unkToken) = (content("pad_token"), content("unk_token"))
    specialTokens = named.map(\.token) + (try Self.extra(config, map))

    var added: [(id: Int, token: AddedToken)] = []
    for (key, value) in config.value["added_tokens_decoder"]?.object?.pairs ?? [] {
      let component = Component(file: config.file, path: "added_tokens_decoder.\(key)", value: value)
      guard let id = Int(key) else { throw component.error("must have an id for a key") }
      var token = try AddedToken(component)
      if named.contains(where: { $0.token.content.utf8.elementsEqual(token.content.utf8) }) { token.special = true }
      added.append((id, token))
    }
    if isLegacy, let legacy = try files.optional("added_tokens.json") {
      let special = Set(specialTokens.map { Array($0.content.utf8) })
      for (content, id) in legacy.value.object?.pairs ?? [] {
        var token = AddedToken(content: content, special: special.contains(Array(content.utf8)))
        token.normalized = !token.special
        added.append((id.int ?? 0, token))
      }
    }
    addedTokens = added.sorted { $0.id < $1.id }
    (chatTemplates, chatTemplateFile) = try Self.templates(config, files)
  }

  /// A special token is given as its text, or as an object with its flags.
  private static func token(_ component: Component, hasRole: Bool) throws(TokenizerError) -> AddedToken {
    guard component.value.object != nil else { return AddedToken(content: try component.string(), special: true) }
    var token = try AddedToken(component)
    if hasRole { token.special = true }
    return token
  }

  /// Roles of a model's own, like `image_token`.
  private static func modelSpecific(_ config: Component) throws(TokenizerError) -> [(role: String, token: AddedToken)] {
    var named: [(String, AddedToken)] = []
    for object in [config, config.optional("extra_special_tokens")].compactMap({ $0 }) {
      for key in object.value.object?.keys ?? [] where !roles.contains(key) {
        guard let value = object.optional(key), object.path != "" || key.hasSuffix("_token") else { continue }
        if value.value.string != nil || value.value["content"] != nil { named.append((key, try token(value, hasRole: true))) }
      }
    }
    return named
  }

  private static func extra(_ config: Component, _ map: Component?) throws(TokenizerError) -> [AddedToken] {
    for (file, key) in [
      (config, "extra_special_tokens"), (map, "extra_special_tokens"), (map, "additional_special_tokens"),
      (config, "additional_special_tokens"),
    ] {
      guard let file, !(file.value[key]?.array ?? []).isEmpty else { continue }
      var tokens: [AddedToken] = []
      for component in try file.array(key) { tokens.append(try token(component, hasRole: false)) }
      return tokens
    }
    return []
  }

  /// Template files go before those in tokenizer_config.json.
  private static func templates(
    _ config: Component, _ files: TokenizerFiles
  ) throws(TokenizerError) -> (templates: [String: String], file: String?) {
    var templates: [String: String] = [:]
    if let text = try files.text("chat_template.jinja") { templates["default"] = text }
    let isFile = !templates.isEmpty
    for name in files.additionalTemplates() { templates[name] = try files.text("additional_chat_templates/\(name).jinja") }
    if !templates.isEmpty { return (templates, isFile ? "chat_template.jinja" : "additional_chat_templates") }
    guard let template = config.optional("chat_template") else { return ([:], nil) }
    if let text = template.value.string { return (["default": text], "tokenizer_config.json") }
    for named in try config.array("chat_template") { templates[try named.string("name")] = try named.string("template") }
    return (templates, templates.isEmpty ? nil : "tokenizer_config.json")
  }
}
