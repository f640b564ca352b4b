import JSON

/// What a router looks at to choose a worker: a key that the client names, and the prompt.
package struct RoutingKey: Sendable, Equatable {
  /// Of the header `X-SMG-Routing-Key`.
  package var name: String?
  /// The prompt's text as bytes, or its token ids; the first unit says which.
  package var prompt: [UInt32] = []

  private static let textMark: UInt32 = 1
  private static let tokensMark: UInt32 = 2

  package init(name: String? = nil, text: String) {
    self.name = name
    append(text)
  }

  package init(name: String? = nil, tokens: [Int]) {
    self.name = name
    append(tokens)
  }

  /// The prompt of a body of `/generate` or of an OpenAI route, the first of several. A body that is none has no prompt: the
  /// worker says what is wrong with it.
  package init(name: String?, body: JSONValue?) {
    self.name = name
    guard let body else { return }
    for field in ["input_ids", "text", "prompt"] {
      guard let value = body[field] else { continue }
      if let text = value.string ?? value.array?.first?.string {
        append(text)
        return
      }
      if let tokens = value.ints ?? value.array?.first?.ints {
        append(tokens)
        return
      }
    }
    if let messages = body["messages"]?.array { append(messages.map { $0.text() }.joined(separator: "\n")) }
  }

  private mutating func append(_ text: String) { prompt = [Self.textMark] + text.utf8.map(UInt32.init) }

  private mutating func append(_ tokens: [Int]) {
    prompt = [Self.tokensMark] + tokens.map { UInt32(truncatingIfNeeded: $0) }
  }

  /// A number that is the same for the same key in every process.
  package var hash: UInt64 {
    var hash = StableHash()
    if let name { hash.add(name.utf8) } else { for unit in prompt { hash.add(unit) } }
    return hash.value
  }
}

/// FNV-1a with a final mix, so that close inputs are far apart.
struct StableHash {
  private var state: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(_ bytes: some Sequence<UInt8>) {
    for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }
  }

  mutating func add(_ unit: UInt32) { state = (state ^ UInt64(unit)) &* 0x100_0000_01B3 }

  var value: UInt64 {
    var x = state
    x = (x ^ (x >> 33)) &* 0xFF51_AFD7_ED55_8CCD
    x = (x ^ (x >> 33)) &* 0xC4CE_B9FE_1A85_EC53
    return x ^ (x >> 33)
  }
}
