import Grammars
import Torch

/// Where a response stands in its grammar.
struct GrammarConstraint {
  private let grammar: TokenGrammar
  /// Tokens that may come where the text may end.
  private let endTokens: Set<Int>
  private let ignoresEnd: Bool
  private var state: Automaton.State
  private var isFirst = true

  init(_ grammar: TokenGrammar, endTokens: Set<Int>, ignoresEnd: Bool) {
    (self.grammar, self.endTokens, self.ignoresEnd) = (grammar, endTokens, ignoresEnd)
    state = grammar.start
  }

  /// What may be sampled next. An end that is ignored (`ignore_eos`) may come only where nothing else can.
  var allowed: AllowedTokens {
    let mask = grammar.mask(state, isFirst: isFirst)
    let mayEnd = grammar.isAccepting(state) && (!ignoresEnd || mask.count == 0)
    return AllowedTokens(mask: mask, ends: mayEnd ? endTokens : [])
  }

  /// Takes a sampled token; tells whether the response must end with it.
  mutating func append(_ token: Int) -> Bool {
    guard let next = grammar.advance(state, token, isFirst: isFirst) else { return true }
    (state, isFirst) = (next, false)
    guard ignoresEnd || endTokens.isEmpty else { return false }
    return grammar.mask(state, isFirst: false).count == 0
  }
}

/// The tokens that a grammar allows at one place of a response.
package struct AllowedTokens {
  let mask: TokenMask
  /// Further ones, with which the response ends.
  let ends: Set<Int>

  package init(mask: TokenMask, ends: Set<Int>) { (self.mask, self.ends) = (mask, ends) }

  /// Whether the response can only end.
  var isEnd: Bool { mask.count == 0 && !ends.isEmpty }

  /// True at the tokens that are not allowed; nil when all rows are free. `[rows, columns]`
  ///
  /// The masks travel to the device as bits.
  static func excluded(_ rows: [AllowedTokens?], columns: Int, device: Device) -> Tensor? {
    guard rows.contains(where: { $0 != nil }) else { return nil }
    let rowBytes = (columns + 7) / 8
    var packed: [UInt8] = []
    packed.reserveCapacity(rows.count * rowBytes)
    for row in rows {
      guard let row else {
        packed.append(contentsOf: repeatElement(0xFF, count: rowBytes))
        continue
      }
      precondition(row.mask.bytes.count == rowBytes, "a mask is for \(row.mask.bytes.count * 8) tokens, not \(columns)")
      packed.append(contentsOf: row.mask.bytes)
      for token in row.ends { packed[packed.count - rowBytes + (token >> 3)] |= 1 << UInt8(token & 7) }
    }
    let bits = Tensor([1, 2, 4, 8, 16, 32, 64, 128] as [UInt8]).sent(to: device)
    return Tensor(packed, shape: [rows.count, rowBytes, 1]).sent(to: device).bitwiseAnd(bits).eq(0)
      .view([rows.count, rowBytes * 8]).narrow(1, start: 0, length: columns)
  }
}
