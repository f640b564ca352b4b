import Foundation
import Grammars
import Synchronization
import Tokenization

/// Makes grammars ready for an engine, on a thread beside it: making one takes long, and other requests go on meanwhile.
final class GrammarCompiler: Sendable {
  private static let maximumGrammars = 256
  /// Sources nest, and so do the calls that read them.
  private static let stackSize = 16 << 20

  /// A request that waits for its grammar.
  private struct Pending {
    let id: String
    var isAborted = false
  }

  private struct State {
    var grammars: [GrammarSource: TokenGrammar] = [:]
    /// The one used last comes last.
    var order: [GrammarSource] = []
    var pending: [Int: Pending] = [:]
    var submissions = 0
    var texts: TokenTexts?

    mutating func note(_ source: GrammarSource) {
      order.removeAll { $0 == source }
      order.append(source)
    }
  }

  private let tokenizer: Tokenizer?
  private let vocabularySize: Int
  private let endOfSequence: Set<Int>
  private let state = Mutex(State())
  private let queue = DispatchQueue(label: "grammars")

  /// - Parameter endOfSequence: tokens that are no text, whatever the tokenizer says.
  init(_ tokenizer: Tokenizer?, vocabularySize: Int, endOfSequence: Set<Int>) {
    (self.tokenizer, self.vocabularySize, self.endOfSequence) = (tokenizer, vocabularySize, endOfSequence)
  }

  /// Calls with the grammar, or with the `InvalidRequest` that its source is, and whether the request was aborted meanwhile.
  func prepare(
    _ source: GrammarSource, for id: String,
    then complete: @escaping @Sendable (Result<TokenGrammar, any Error>, _ isAborted: Bool) -> Void
  ) {
    if let known = known(source) { return complete(.success(known), false) }
    let number = state.withLock { state in
      state.submissions += 1
      state.pending[state.submissions] = Pending(id: id)
      return state.submissions
    }
    queue.async { [self] in
      let result = Self.onDeepStack { [self] in Result { try grammar(source) } }
      let isAborted = state.withLock { $0.pending.removeValue(forKey: number)!.isAborted }
      complete(result, isAborted)
    }
  }

  /// Marks the waiting requests with this id, or all when nil, as aborted.
  func abort(_ id: String?) {
    state.withLock { state in
      for (number, request) in state.pending where id == nil || request.id == id { state.pending[number]!.isAborted = true }
    }
  }

  private func known(_ source: GrammarSource) -> TokenGrammar? {
    state.withLock { state in
      guard let grammar = state.grammars[source], !grammar.isLarge else { return nil }
      state.note(source)
      return grammar
    }
  }

  private func grammar(_ source: GrammarSource) throws -> TokenGrammar {
    if let known = known(source) { return known }
    guard let tokenizer else {
      throw InvalidRequest("\(source.name) needs a tokenizer, which this engine runs without; leave it out.")
    }
    let grammar: TokenGrammar
    do throws(GrammarError) {
      grammar = try TokenGrammar(Grammar(source), texts(tokenizer))
    } catch {
      throw InvalidRequest("\(source.name) cannot be used: \(error.description)")
    }
    // The first tokens are known before the engine asks.
    guard grammar.mask(grammar.start, isFirst: true).count > 0 || grammar.isAccepting(grammar.start) else {
      throw InvalidRequest("\(source.name) cannot be used: no token of the vocabulary can begin such a text.")
    }
    state.withLock { state in
      state.grammars[source] = grammar
      state.note(source)
      if state.order.count > Self.maximumGrammars { state.grammars[state.order.removeFirst()] = nil }
    }
    return grammar
  }

  /// What the vocabulary's tokens write, made when first asked for.
  private func texts(_ tokenizer: Tokenizer) -> TokenTexts {
    if let known = state.withLock({ $0.texts }) { return known }
    let ids = 0..<vocabularySize
    func bytes(isFirst: Bool) -> [[UInt8]?] {
      ids.map { endOfSequence.contains($0) ? nil : tokenizer.bytes(of: $0, isFirst: isFirst) }
    }
    let texts = TokenTexts(middle: bytes(isFirst: false), first: bytes(isFirst: true))
    state.withLock { $0.texts = texts }
    return texts
  }

  /// What `body` gives on a thread with room for deep calls.
  private static func onDeepStack<Value: Sendable>(_ body: @escaping @Sendable () -> Value) -> Value {
    let (done, value) = (DispatchSemaphore(value: 0), Left<Value>())
    let thread = Thread {
      value.value.withLock { $0 = body() }
      done.signal()
    }
    thread.stackSize = stackSize
    thread.start()
    done.wait()
    return value.value.withLock { $0! }
  }

  /// What one thread leaves for another.
  private final class Left<Value: Sendable>: Sendable {
    let value = Mutex<Value?>(nil)
  }
}

extension GrammarSource {
  /// The field that it is given in.
  fileprivate var name: String {
    switch self {
    case .regex: "regex"
    case .jsonSchema: "json_schema"
    case .ebnf: "ebnf"
    }
  }
}
