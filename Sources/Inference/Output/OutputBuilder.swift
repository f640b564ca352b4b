import Grammars

/// Turns sampled tokens into text one by one; `Tokenization`'s stream decoder, or a test's.
public protocol IncrementalDecoder: Sendable {
  /// The text that `token` makes certain: bytes that may be part of a longer character wait for the next token.
  mutating func append(_ token: Int) -> String

  /// What is still held back, once no token follows.
  mutating func finish() -> String
}

/// The text of one response as it grows, and the stop strings and expressions in it.
///
/// The text shown before the end never takes back a character: what may turn out to be the beginning of a stop string is
/// held back until the next tokens decide.
public struct OutputBuilder<Decoder: IncrementalDecoder>: Sendable {
  private let stop: StopCondition
  private let stopStrings: [[UInt8]]
  private let longestStop: Int
  private let keepsStop: Bool
  private var stopExpressions: [(pattern: String, search: RegexSearch)]
  private var decoder: Decoder
  private var outputCount = 0
  private var bytes: [UInt8] = []
  /// How many of `bytes` are shown.
  private var shown = 0
  private var matchedAt: Int?

  public init(_ sampling: SamplingParameters, stop: StopCondition, decoder: Decoder) {
    (self.stop, self.decoder, keepsStop) = (stop, decoder, sampling.noStopTrim)
    stopStrings = sampling.stop.map { Array($0.utf8) }
    // They were compiled when the request was checked.
    stopExpressions = sampling.stopRegex.compactMap { pattern in (try? RegexSearch(pattern)).map { (pattern, $0) } }
    longestStop = stopStrings.map(\.count).max() ?? 0
  }

  /// The response so far; after `finish`, all of it.
  public var text: String { String(decoding: bytes[..<shown], as: UTF8.self) }

  /// Adds a sampled token.
  /// - Returns: the stop string, or else the expression, that ends the response with this token, for `SampledToken.stopString`. The first in the
  ///   text wins, and of several at one place the first in the request's list.
  public mutating func append(_ token: Int) -> String? {
    outputCount += 1
    let reason = stop.reason(outputCount: outputCount, token: token)
    if case .stopToken = reason, !keepsStop { return nil }
    let searched = max(0, bytes.count - max(0, longestStop - 1))
    let new = decoder.append(token).utf8
    bytes.append(contentsOf: new)
    guard reason == nil else { return nil }
    if let match = firstStop(from: searched) {
      matchedAt = match.offset
      return String(decoding: match.stop, as: UTF8.self)
    }
    shown = bytes.count - (keepsStop ? 0 : heldBack())
    var matched: String?
    for i in stopExpressions.indices where stopExpressions[i].search.append(new) && matched == nil {
      matched = stopExpressions[i].pattern
    }
    return matched
  }

  /// Ends the response: shows what was held back, and cuts it at a stop string.
  public mutating func finish(_ reason: FinishReason) {
    bytes.append(contentsOf: decoder.finish().utf8)
    shown = bytes.count
    if case .stopString = reason, let matchedAt, !keepsStop { shown = matchedAt }
  }

  private func firstStop(from start: Int) -> (offset: Int, stop: [UInt8])? {
    guard longestStop > 0, start < bytes.count else { return nil }
    for offset in start..<bytes.count {
      for stop in stopStrings where bytes[offset...].starts(with: stop) { return (offset, stop) }
    }
    return nil
  }

  /// Length of the longest end of the text that begins a stop string.
  private func heldBack() -> Int {
    for length in stride(from: min(longestStop - 1, bytes.count), to: 0, by: -1) {
      let tail = bytes[(bytes.count - length)...]
      if stopStrings.contains(where: { $0.count > length && $0.starts(with: tail) }) { return length }
    }
    return 0
  }
}
