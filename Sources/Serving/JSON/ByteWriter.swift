import Inference
import JSON

/// Writes JSON straight into bytes, for the long arrays of a response that would be slow to build as `JSONValue`s.
struct ByteWriter {
  private(set) var bytes: [UInt8] = []

  mutating func raw(_ text: StaticString) {
    bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  mutating func raw(_ other: [UInt8]) { bytes.append(contentsOf: other) }

  mutating func value(_ value: JSONValue) { value.write(.compact, level: 0, into: &bytes) }

  mutating func int(_ value: Int) { bytes.append(contentsOf: String(value).utf8) }

  /// The shortest text that reads back to the same 32-bit float; null for what JSON cannot say.
  mutating func float(_ value: Float?) {
    if let value, value.isFinite { bytes.append(contentsOf: value.description.utf8) } else { raw("null") }
  }

  mutating func comma() { bytes.append(UInt8(ascii: ",")) }

  /// `[logprob, token, text]`, as SGLang writes a token's log-probability.
  mutating func triple(_ entry: TokenLogProb, text: String?) {
    bytes.append(UInt8(ascii: "["))
    float(entry.logProb)
    comma()
    int(entry.token)
    comma()
    if let text { value(.string(text)) } else { raw("null") }
    bytes.append(UInt8(ascii: "]"))
  }
}

/// The text of an array that only grows: each update of a stream writes just the new elements.
struct GrowingArray {
  /// Whether the text is that of the new elements alone.
  var isIncremental = false
  private var elements = ByteWriter()
  private var count = 0

  init(isIncremental: Bool = false) { self.isIncremental = isIncremental }

  /// The array's text after elements beyond those already written are added.
  mutating func text<T>(of values: [T], write: (inout ByteWriter, T) -> Void) -> [UInt8] {
    if values.count < count { self = GrowingArray(isIncremental: isIncremental) }
    if isIncremental { elements = ByteWriter() }
    for (i, value) in values[count...].enumerated() {
      if i > 0 || count > 0 && !isIncremental { elements.comma() }
      write(&elements, value)
    }
    count = values.count
    return [UInt8(ascii: "[")] + elements.bytes + [UInt8(ascii: "]")]
  }
}
