/// Writes metrics in Prometheus' text format, version 0.0.4.
package struct PrometheusText {
  package static let contentType = "text/plain; version=0.0.4; charset=utf-8"
  package typealias Labels = KeyValuePairs<String, String>

  package private(set) var text = ""
  private let prefix: String
  /// Those that every sample has.
  private let labels: String

  package init(prefix: String, labels: Labels = [:]) {
    self.prefix = prefix
    self.labels = Self.list(labels)
  }

  package mutating func gauge(_ name: String, _ help: String, _ value: Double) {
    header(name, help, "gauge")
    sample(name, "", value)
  }

  package mutating func counter(_ name: String, _ help: String, _ value: Double) {
    header(name, help, "counter")
    sample(name, "", value)
  }

  /// A metric with a sample for each of some labels.
  package mutating func family(_ name: String, _ help: String, type: String, _ samples: [(Labels, Double)]) {
    header(name, help, type)
    for (labels, value) in samples { sample(name, Self.list(labels), value) }
  }

  package mutating func histogram(_ name: String, _ help: String, _ histogram: Histogram) {
    header(name, help, "histogram")
    var total = 0
    for (bound, count) in zip(histogram.bounds.map(Self.number) + ["+Inf"], histogram.counts) {
      total += count
      sample(name + "_bucket", "le=\"\(bound)\"", Double(total))
    }
    sample(name + "_sum", "", histogram.sum)
    sample(name + "_count", "", Double(total))
  }

  private mutating func header(_ name: String, _ help: String, _ type: String) {
    text += "# HELP \(prefix)\(name) \(help)\n# TYPE \(prefix)\(name) \(type)\n"
  }

  private mutating func sample(_ name: String, _ own: String, _ value: Double) {
    let all = [labels, own].filter { !$0.isEmpty }.joined(separator: ",")
    text += "\(prefix)\(name)\(all.isEmpty ? "" : "{\(all)}") \(Self.number(value))\n"
  }

  private static func number(_ value: Double) -> String {
    if value == .infinity { return "+Inf" }
    if value == -.infinity { return "-Inf" }
    if value.isNaN { return "NaN" }
    return Int(exactly: value).map(String.init) ?? String(value)
  }

  private static func list(_ labels: Labels) -> String {
    labels.map { "\($0.key)=\"\(escaped($0.value))\"" }.joined(separator: ",")
  }

  private static func escaped(_ value: String) -> String {
    var result = ""
    for character in value.unicodeScalars {
      switch character {
      case "\\": result += "\\\\"
      case "\"": result += "\\\""
      case "\n": result += "\\n"
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }
}
